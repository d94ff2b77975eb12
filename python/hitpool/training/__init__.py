"""Training: Lightning module, run directories, checkpoints and loggers that survive interruptions."""

from typing import TYPE_CHECKING

from hitpool._lazy import lazily

if TYPE_CHECKING:
    from hitpool.training.module import TrackingModule
    from hitpool.training.samples import Samples
    from hitpool.training.schedule import OneCycle
else:
    __getattr__ = lazily(
        __name__,
        {
            "OneCycle": "hitpool.training.schedule",
            "Samples": "hitpool.training.samples",
            "TrackingModule": "hitpool.training.module",
        },
    )

__all__ = ["OneCycle", "Samples", "TrackingModule"]
