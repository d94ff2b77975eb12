"""Tasks: object validity, assignment of hits, regression of parameters."""

from hitpool.tasks.base import Task
from hitpool.tasks.object_hit_mask import ObjectHitMaskTask
from hitpool.tasks.object_seed import ObjectSeedTask
from hitpool.tasks.object_valid import ObjectValidTask
from hitpool.tasks.regression import ObjectRegressionTask, RegressionTask
from hitpool.tasks.weighted_pooling import WeightedPoolingObjectHitRegressionTask

__all__ = [
    "ObjectHitMaskTask",
    "ObjectRegressionTask",
    "ObjectSeedTask",
    "ObjectValidTask",
    "RegressionTask",
    "Task",
    "WeightedPoolingObjectHitRegressionTask",
]
