"""Whether ACTS is there."""

from __future__ import annotations

import importlib.util


def require_acts() -> None:
    """Checks that ACTS can be imported, without doing it.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    spec = importlib.util.find_spec("acts")
    if spec is None or spec.origin is None:  # a mere folder of that name has no origin
        raise ModuleNotFoundError('ACTS is not installed: pip install "hitpool[acts]"', name="acts")
