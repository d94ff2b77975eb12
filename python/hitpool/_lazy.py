"""Names of a package that are imported when they are used first, so that whatever needs no torch is quick."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Makes the `__getattr__` of a package.

    Args:
        package: `__name__` of the package.
        modules: The module that defines each name; a name that is its own module's is that module.

    Returns:
        The function, which imports a name at its first use.

    Example:
        >>> lazily("hitpool", {"suggestion": "hitpool.data.names"})("suggestion").__module__
        'hitpool.data.names'
    """

    def __getattr__(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(modules[name])
        return module if modules[name] == f"{package}.{name}" else getattr(module, name)

    return __getattr__
