"""Track parameters from transformers: pooling of detector hits by their assignment probability."""

import sys
from importlib.metadata import version

if sys.argv[:1] == ["-m"] and "hitpool.cli" in sys.orig_argv:  # python -m hitpool.cli, which imports this first
    from hitpool_command import leave_at_interrupt

    leave_at_interrupt()

from hitpool._library import library_path, load_library

load_library()

from hitpool.ops import pseudorapidity, weighted_pool  # noqa: E402  (the ops must be registered first)

__version__ = version("hitpool")
__all__ = ["__version__", "library_path", "pseudorapidity", "weighted_pool"]
