"""Names that are almost right."""

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(name: str, known: Iterable[str]) -> str:
    """A question for an error message about an unknown name.

    Args:
        name: What was given.
        known: The names that exist.

    Returns:
        A text to put behind the name; empty if none of the known names is similar.

    Example:
        >>> suggestion("truthMuon_ptt", ["truthMuon_eta", "truthMuon_pt"])
        " (did you mean 'truthMuon_pt'?)"
    """
    near = similar(name, known)
    return f" (did you mean '{near}'?)" if near else ""


def similar(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to an unknown one, or None if none is."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.8)), None)
