"""Reading data sets: files, hit features, batches, the Lightning data module."""

from typing import TYPE_CHECKING

from hitpool._lazy import lazily

if TYPE_CHECKING:
    from hitpool.data.batch_sampler import LengthGroupedBatchSampler
    from hitpool.data.datamodule import HitDataModule
    from hitpool.data.dataset import EventDataset
    from hitpool.data.features import HitFeatures
else:
    __getattr__ = lazily(
        __name__,
        {
            "EventDataset": "hitpool.data.dataset",
            "HitDataModule": "hitpool.data.datamodule",
            "HitFeatures": "hitpool.data.features",
            "LengthGroupedBatchSampler": "hitpool.data.batch_sampler",
        },
    )

__all__ = [
    "EventDataset",
    "HitDataModule",
    "HitFeatures",
    "LengthGroupedBatchSampler",
]
