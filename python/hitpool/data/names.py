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
    similar = get_close_matches(name, [other for other in known if other != name], n=1, cutoff=0.8)
    return f" (did you mean '{similar[0]}'?)" if similar else ""
