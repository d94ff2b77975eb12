"""Training: Lightning module, run directories, checkpoints and loggers that survive interruptions."""

from hitpool.training.module import TrackingModule
from hitpool.training.samples import Samples
from hitpool.training.schedule import OneCycle

__all__ = ["OneCycle", "Samples", "TrackingModule"]
