"""The parser of all commands: an unknown option comes before everything else that may be wrong."""

import re
from argparse import ArgumentError
from collections.abc import Collection, Sequence
from typing import Any

import jsonargparse

from hitpool.data.names import similar, suggestion


class ArgumentParser(jsonargparse.ArgumentParser):
    """jsonargparse's parser, which raises errors, takes no abbreviations and looks for unknown options first.

    Args:
        **options: See `jsonargparse.ArgumentParser`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"exit_on_error": False, "allow_abbrev": False} | options)

    def parse_args(self, args: Any = None, *others: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parses a command line, see `jsonargparse.ArgumentParser.parse_args`."""
        self.refuse_unknown(args or [])
        return super().parse_args(args, *others, **options)

    def refuse_unknown(self, options: Sequence[str]) -> None:
        """Checks the names of options; what lies inside an object or a list is known to nobody yet.

        Args:
            options: A command line.

        Raises:
            ArgumentError: If there is no such option, with the one that is nearest.
        """
        known = {name for action in self._actions for name in action.option_strings}
        for name in (re.split(r"\+?=", option)[0].removesuffix("+") for option in options if option.startswith("--")):
            parts = name.split(".")
            inside = {".".join(parts[:end]) for end in range(2, len(parts))}  # whose own options depend on its class
            if name not in known and not inside & known:
                raise ArgumentError(None, f"there is no option {name}{near_option(name, known)}")


def near_option(name: str, known: Collection[str]) -> str:
    """A question for an error message about an unknown option.

    Args:
        name: What was given, with or without dashes in front.
        known: The options that exist.

    Returns:
        As `suggestion`; an option with the same last part is near as well.

    Example:
        >>> near_option("--batch-size", ["--data.batch_size"])
        " (did you mean '--data.batch_size'?)"
    """
    name = re.sub(r"(?<=\w)-", "_", name)
    last = {option.lstrip("-").rpartition(".")[2]: option for option in known}
    inner = similar(name.lstrip("-").rpartition(".")[2], last)
    return suggestion(name, known) or (f" (did you mean '{last[inner]}'?)" if inner else "")
