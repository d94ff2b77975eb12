"""The command `hitpool completion`."""

from collections.abc import Callable, Mapping
from typing import Literal

from jsonargparse import ArgumentParser, capture_parser

Shell = Literal["bash", "zsh", "tcsh"]


def parsed(options: list[str]) -> Shell:
    """Reads the options of `hitpool completion`.

    Args:
        options: Arguments after `completion`.
    """
    description = "Prints the script by which a shell completes the commands of hitpool, their options and values."
    parser = ArgumentParser(prog="hitpool completion", description=description, exit_on_error=False)
    parser.add_argument("shell", type=Shell, metavar="SHELL", help="bash, zsh or tcsh.")
    shell: Shell = parser.parse_args(options).shell
    return shell


def script(shell: Shell, commands: Mapping[tuple[str, ...], Callable[[], object]]) -> str:
    """Writes the completion of all commands, from their parsers.

    Args:
        shell: Whose language.
        commands: For each command, and each part of one with parts, what parses its options.

    Returns:
        The script.

    Raises:
        ModuleNotFoundError: If shtab is not installed.
    """
    tree: dict[str, dict[str, ArgumentParser]] = {}
