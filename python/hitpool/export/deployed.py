"""The network as it is deployed: hits as on disk in, physical parameters and probabilities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from hitpool.data import HitFeatures
from hitpool.data.features import POINT_FIELDS
from hitpool.hits import Hits
from hitpool.muon import POINTS
from hitpool.nn import MaskFormer
from hitpool.nn.precision import layer_dtype
from hitpool.nn.task import Task
from hitpool.tasks import ObjectHitMaskTask, ObjectValidTask, WeightedPoolingObjectHitRegressionTask
from hitpool.tasks.regression import RegressionTask

Kind = TypeVar("Kind", ObjectValidTask, ObjectHitMaskTask)


def needed_columns(fields: Sequence[str], points: Mapping[str, Sequence[Sequence[str]]] | None = None) -> list[str]:
    """Columns on disk from which the hit fields are made.

    Args:
        fields: Hit fields of the model.
        points: See `hitpool.data.HitFeatures`; None for its default.

    Returns:
        Names without repetition: the fields that are columns, then the coordinates of the points.

    Example:
        >>> needed_columns(["t", "X", "r"], {"": [["X", "Y", "Z"]], "far_": [["U", "V", "W"]]})
        ['t', 'X', 'Y', 'Z']
    """
    points = POINTS if points is None else points
    derived = {prefix + name: prefix for prefix in points for name in POINT_FIELDS}
    columns = [field for field in fields if field not in derived]
    for prefix in dict.fromkeys(derived[field] for field in fields if field in derived):
        columns += [column for triple in points[prefix] for column in triple]
    return list(dict.fromkeys(columns))


class DeployedModel(nn.Module):
    """A network with its hit features in front and its predictions in physical units behind.

    It computes in the precision of the network; hits and results are float32 whatever that is.

    Args:
        network: The trained network.
        fields: Hit fields of the network, as in the data's inputs.
        scale_factors: See `hitpool.data.HitFeatures`.
        points: See `hitpool.data.HitFeatures`; None for its default.
        columns: Columns of the hits that it takes, in their order: those of the data set. None takes what
            `needed_columns` gives.

    Raises:
        ValueError: If a field cannot be made from the columns, if the network lacks a regression task or does not
            have exactly one task each for validity and hits.
    """

    def __init__(
        self,
        network: MaskFormer,
        fields: Sequence[str],
        scale_factors: Mapping[str, float] | None = None,
        points: Mapping[str, Sequence[Sequence[str]]] | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.columns = needed_columns(fields, points) if columns is None else list(columns)
        # those of other columns of the data set are not needed
        factors = {k: v for k, v in (scale_factors or {}).items() if k in self.columns or k in fields}
        self.column_scale = [float(factors.get(column, 1.0)) for column in self.columns]
        self.features = HitFeatures(self.columns, fields, factors, points)
        self.is_used = [number in self.features.used_columns for number in range(len(self.columns))]
        self.network = network
        self.hit = network.input_name
        self.valid_task = _only(network.tasks, ObjectValidTask)
        self.mask_task = _only(network.tasks, ObjectHitMaskTask)
        self.regressions = [task for task in network.tasks if isinstance(task, RegressionTask)]
        self.pooling = [task for task in self.regressions if isinstance(task, WeightedPoolingObjectHitRegressionTask)]
        self.parameters_out = [name for task in self.regressions for name in task.predicted]
        if not self.regressions:
            raise ValueError("DeployedModel: the network has no regression task, so there is nothing to predict")

    def forward(self, hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predicts the tracks of B events.

        Args:
            hits: Hits as on disk, float32 [B, M, C] with the columns `columns`; padded hits and columns that are
                not used may hold anything.
            valid: False at padded hits, bool [B, M].

        Returns:
            Parameters [B, N, K] in physical units in the order of `parameters_out`, probability of each track
            to exist [B, N], probability of each hit to belong to it [B, N, M], 0 for padded hits; all float32.
        """
        present = valid.unsqueeze(-1)  # [B, M, 1]
        features = self.features(torch.where(present, hits, torch.zeros_like(hits)))  # [B, M, F]
        features = torch.where(present, features, torch.zeros_like(features))  # as the data module pads
        features = features.to(layer_dtype(self.network))
        inputs = Hits(self.hit, self.features.fields, features.movedim(-1, 0).contiguous(), valid)
        preds = self.network.predict(self.network(inputs, intermediate=False))["final"]
        parameters = [
            preds[task.name][f"{task.output_object}_{name}"] for task in self.regressions for name in task.predicted
        ]
        track_prob = preds[self.valid_task.name][f"{self.valid_task.output_object}_valid_prob"]
        hit_prob = preds[self.mask_task.name][f"{self.mask_task.output_object_hit}_valid_prob"]  # [B, N, M]
        hit_prob = torch.where(valid.unsqueeze(-2), hit_prob, torch.zeros_like(hit_prob))
        return torch.stack(parameters, dim=-1).float(), track_prob.float(), hit_prob.float()


def _only(tasks: Sequence[Task], kind: type[Kind]) -> Kind:
    found = [task for task in tasks if isinstance(task, kind)]
    if len(found) != 1:
        names = [task.name for task in found]
        raise ValueError(f"DeployedModel: the network needs exactly one {kind.__name__}, got {len(found)}: {names}")
    return found[0]
