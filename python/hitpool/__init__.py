"""Track parameters from transformers: pooling of detector hits by their assignment probability."""

from importlib.metadata import version
from typing import TYPE_CHECKING

from hitpool._lazy import lazily

if TYPE_CHECKING:
    from hitpool import config
    from hitpool._library import library_path
    from hitpool.ops import pseudorapidity, weighted_pool
else:
    __getattr__ = lazily(
        __name__,
        {
            "config": "hitpool.config",
            "library_path": "hitpool._library",
            "pseudorapidity": "hitpool.ops",
            "weighted_pool": "hitpool.ops",
        },
    )

__version__ = version("hitpool")
__all__ = ["__version__", "config", "library_path", "pseudorapidity", "weighted_pool"]
