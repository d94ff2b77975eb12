"""Where CMake finds hitpool; known without importing torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def cmake_prefix() -> str:
    """What `CMAKE_PREFIX_PATH` has to be for `find_package(hitpool)`.

    Returns:
        The folder of the compiled part, and behind a semicolon that of torch if it is not beside it.

    Raises:
        FileNotFoundError: If the package for CMake is not there.
    """
    spec = find_spec("hitpool._C")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("hitpool's compiled part is missing; build it with: pip install .")
    root = Path(spec.origin).parent
    if not (root / "share/cmake/hitpool/hitpoolConfig.cmake").is_file():
        raise FileNotFoundError(f"{root} has libraries but no package for CMake; install hitpool with: pip install .")
    torch = find_spec("torch")
    places = [] if torch is None else [Path(place) for place in torch.submodule_search_locations or ()]
    return ";".join(map(str, [root, *(place for place in places[:1] if place.parent != root.parent)]))
