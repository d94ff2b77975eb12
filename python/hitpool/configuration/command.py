"""The commands `hitpool config list` and `hitpool config show`."""

import itertools

from hitpool.configuration.files import packaged
from hitpool.data.names import suggestion
from hitpool.parser import ArgumentParser


def list_all(options: list[str]) -> None:
    """Runs `hitpool config list`.

    Args:
        options: Arguments after `list`.
    """
    description = "Lists the packaged configurations, each with the comment at its beginning."
    ArgumentParser(prog="hitpool config list", description=description).parse_args(options)
    known = packaged()
    width = max(map(len, known))
    for name, path in known.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        comment = [line.removeprefix("#").strip() for line in itertools.takewhile(lambda s: s.startswith("#"), lines)]
        print(f"{name:<{width}}  " + f"\n{'':<{width}}  ".join(comment))


def show(options: list[str]) -> None:
    """Runs `hitpool config show`.

    Args:
        options: Arguments after `show`.

    Raises:
        ValueError: If there is no such configuration.
    """
    description = "Prints a packaged configuration with its comments, to change a copy of it."
    parser = ArgumentParser(prog="hitpool config show", description=description)
    parser.add_argument("name", metavar="NAME", help=f"One of {', '.join(packaged())}; .yaml may be left out.")
    name = parser.parse_args(options).name
    known = packaged() | {path.stem: path for path in packaged().values()}
    if name not in known:
        near = suggestion(name, known)
        raise ValueError(f"there is no packaged configuration '{name}'{near}; there are {', '.join(packaged())}")
    print(known[name].read_text(encoding="utf-8"), end="")
