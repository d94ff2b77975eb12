"""The parser of all commands: an unknown option comes before everything else that may be wrong."""

import re
from argparse import ArgumentError
from collections.abc import Collection, Sequence
from typing import Any

import jsonargparse

from hitpool.data.names import similar


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
        groups = {prefix for name in known if not name.endswith(".help") for prefix in _above(name)}
        for name in (re.split(r"\+?=", option)[0].removesuffix("+") for option in options if option.startswith("--")):
            if name not in known and not any(prefix in known - groups for prefix in _above(name)):
                raise ArgumentError(None, f"there is no option {name}{near_option(name, known - groups)}")


def objects_of(parser: jsonargparse.ArgumentParser, config: jsonargparse.Namespace) -> jsonargparse.Namespace:
    """Builds the objects that a parsed configuration describes; before jsonargparse 4.49 the method is another.

    Args:
        parser: The parser of the configuration.
        config: What it returned.
    """
    build: Any = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
    return build(config)


def _above(name: str) -> list[str]:
    """What an option lies in: --a.b and --a for --a.b.c."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def near_option(name: str, known: Collection[str]) -> str:
    """A question for an error message about an unknown option.

    Args:
        name: What was given, with or without dashes in front.
        known: The options that exist.

    Returns:
        The question, empty if none is near; what goes on from the name or has the same last part is near as well.

    Example:
        >>> near_option("--batch-size", ["--data.batch_size"])
        " (did you mean '--data.batch_size'?)"
    """
    name = re.sub(r"(?<=\w)-", "_", name)
    longer = min((option for option in known if option.startswith(name)), default=None)
    last = {option.lstrip("-").rpartition(".")[2]: option for option in known}
    inner = similar(name.lstrip("-").rpartition(".")[2], last)
    near = similar(name, known) or longer or (last[inner] if inner else None)
    return f" (did you mean '{near}'?)" if near else ""
