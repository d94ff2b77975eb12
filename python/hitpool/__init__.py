"""Track parameters from transformers: pooling of detector hits by their assignment probability."""

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from hitpool._lazy import lazily

if sys.argv[:1] != ["-m"] and "hitpool_command" not in sys.modules:  # a command loads the ops when it needs them
    import hitpool.ops  # noqa: F401  (registers them with torch)

if TYPE_CHECKING:
    from hitpool import config
    from hitpool._library import library_path
    from hitpool.ops import pseudorapidity, weighted_pool
    from hitpool.predictor import Predictor
else:
    __getattr__ = lazily(
        __name__,
        {
            "Predictor": "hitpool.predictor",
            "config": "hitpool.config",
            "library_path": "hitpool._library",
            "pseudorapidity": "hitpool.ops",
            "weighted_pool": "hitpool.ops",
        },
    )

__version__ = version("hitpool")
__all__ = ["Predictor", "__version__", "config", "library_path", "pseudorapidity", "weighted_pool"]
