"""A deployed model as a graph with free sizes."""

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from hitpool.export.deployed import DeployedModel


def record(model: DeployedModel, example: tuple[Tensor, Tensor]) -> ExportedProgram:
    """Records a model with `torch.export` for any number of events and hits, none among them.

    Args:
        model: The model, which records no gradients.
        example: hits [B, M, C] and valid [B, M].
    """
    sizes = {0: Dim("events", min=0), 1: Dim("hits", min=0)}
    with torch.no_grad():
        return torch.export.export(model, example, dynamic_shapes=(sizes, sizes))
