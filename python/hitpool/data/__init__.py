"""Reading data sets: files, hit features, batches, the Lightning data module."""

from hitpool.data.batch_sampler import LengthGroupedBatchSampler
from hitpool.data.datamodule import HitDataModule
from hitpool.data.dataset import EventDataset
from hitpool.data.features import HitFeatures

__all__ = [
    "EventDataset",
    "HitDataModule",
    "HitFeatures",
    "LengthGroupedBatchSampler",
]
