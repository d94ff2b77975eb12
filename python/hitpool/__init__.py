"""Track parameters from transformers: pooling of detector hits by their assignment probability."""

from importlib.metadata import version

from hitpool._library import library_path, load_library

load_library()

from hitpool.ops import pseudorapidity, weighted_pool  # noqa: E402  (the ops must be registered first)

__version__ = version("hitpool")
__all__ = ["__version__", "library_path", "pseudorapidity", "weighted_pool"]
