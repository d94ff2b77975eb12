"""Reading data sets: files, hit features, batches, the Lightning data module."""

from hitpool.data.batch_sampler import LengthGroupedBatchSampler
from hitpool.data.datamodule import HitDataModule
from hitpool.data.dataset import EventDataset
from hitpool.data.features import DEFAULT_POINTS, DEFAULT_SCALE_FACTORS, HitFeatures

__all__ = [
    "DEFAULT_POINTS",
    "DEFAULT_SCALE_FACTORS",
    "EventDataset",
    "HitDataModule",
    "HitFeatures",
    "LengthGroupedBatchSampler",
]
