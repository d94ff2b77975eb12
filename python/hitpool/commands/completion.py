"""The command `hitpool completion`."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from jsonargparse import capture_parser

from hitpool.configuration.files import find, read
from hitpool.configuration.subcommands import USES
from hitpool.parser import ArgumentParser

Shell = Literal["bash", "zsh", "tcsh"]
Work = Callable[[str, list[str]], Callable[[], None]]


def run(options: list[str], work: Work, commands: Sequence[tuple[str, ...]]) -> None:
    """Runs `hitpool completion`.

    Args:
        options: Arguments after `completion`.
        work: Gives what a command with options does.
        commands: All commands, and the parts of those that have some.

    Raises:
        ModuleNotFoundError: If shtab is not installed.
    """
    description = "Prints the script by which a shell completes commands, options and names of files."
    parser = ArgumentParser(prog="hitpool completion", description=description)
    parser.add_argument("shell", type=Shell, metavar="SHELL", help="bash, zsh or tcsh.")
    shell = parser.parse_args(options).shell
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('completion needs shtab: pip install "hitpool[completion]"') from error

    root = argparse.ArgumentParser(prog="hitpool")
    root.add_argument("--version", action="store_true")
    tree: dict[tuple[str, ...], Any] = {(): root.add_subparsers()}
    for command in commands:
        for depth in range(1, len(command)):
            if command[:depth] not in tree:
                tree[command[:depth]] = _part(tree[command[: depth - 1]], command[depth - 1]).add_subparsers()
        plain = _part(tree[command[:-1]], command[-1])
        for names in _options(command, work):
            option: Any = plain.add_argument(*names)
            option.complete = shtab.FILE  # where a value is none, a name of a file does no harm
    print(shtab.complete(root, shell))


def _part(parts: Any, name: str) -> argparse.ArgumentParser:
    part: argparse.ArgumentParser = parts.add_parser(name, help="")  # shtab leaves out what has no help
    return part


def _options(command: tuple[str, ...], work: Work) -> Iterator[Sequence[str]]:
    """Spellings of each option of a command."""
    first, *rest = command
    training = first in USES
    parser = capture_parser(lambda: work(first, ["--print_config"] if training else rest)())
    known = [action.option_strings for action in parser._actions if action.option_strings]
    yield from (names for names in known if "--help" not in names)
    if training:
        yield ["--help_all"]
        content = read(find("muon.yaml")).content
        every = {name for names in known for name in names}
        yield from ([name] for name in _keys(content, "-") if name not in every)


def _keys(node: Any, path: str) -> Iterator[str]:
    """Options for the values of a configuration, without `init_args` and `modules`."""
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in entries:
        inner = path if key in ("init_args", "modules") else f"-{path}{key}" if path == "-" else f"{path}.{key}"
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            yield from _keys(value, inner)
        elif key != "class_path":
            yield inner
