"""The compiled ops. Their meaning is defined in plain PyTorch in `hitpool.ops.reference`, their code is in csrc/ops."""

from hitpool._library import load_library

load_library()

from hitpool.ops.pseudorapidity import pseudorapidity  # noqa: E402  (the ops must be registered first)
from hitpool.ops.vmap import register_rules  # noqa: E402
from hitpool.ops.weighted_pool import weighted_pool  # noqa: E402

register_rules()

__all__ = ["pseudorapidity", "weighted_pool"]
