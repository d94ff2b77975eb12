"""Track parameters from transformers: pooling of detector hits by their assignment probability."""

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if sys.argv[:1] == ["-m"] and "hitpool.cli" in sys.orig_argv:  # python -m hitpool.cli, which imports this first
    from hitpool_command import leave_at_interrupt

    leave_at_interrupt()

from hitpool._library import library_path, load_library

load_library()

from hitpool.ops import pseudorapidity, weighted_pool  # noqa: E402  (the ops must be registered first)

if TYPE_CHECKING:
    from hitpool.predictor import Predictor

__version__ = version("hitpool")
__all__ = ["Predictor", "__version__", "library_path", "pseudorapidity", "weighted_pool"]


def __getattr__(name: str) -> Any:
    if name == "Predictor":  # needs Lightning, which takes seconds to import
        from hitpool.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
