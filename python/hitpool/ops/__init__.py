"""The compiled ops. Their meaning is defined in plain PyTorch in `hitpool.ops.reference`, their code is in csrc/ops."""

from hitpool.ops.pseudorapidity import pseudorapidity
from hitpool.ops.vmap import register_rules
from hitpool.ops.weighted_pool import weighted_pool

register_rules()

__all__ = ["pseudorapidity", "weighted_pool"]
