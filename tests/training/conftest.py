"""A model of the MaskFormer interface with a single weight matrix, and data for it."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader


class MeanTask(nn.Module):
    """Regresses the mean of a field; remembers what it was standardised with."""

    name = "mean"
    late_part = None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.tensor(float("nan")))

    def fit_standardization(self, values: dict[str, Tensor]) -> None:
        self.offset.copy_(values["x"].mean())


class Model(nn.Module):
    """Two slots, predicted in reverse order: matching swaps them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -0.5]))
        self.dropout = nn.Dropout(0.5)
        self.tasks = nn.ModuleList([MeanTask()])

    def forward(self, inputs: dict[str, Tensor], intermediate: bool = True) -> dict[str, Any]:
        regr = self.dropout(inputs["hit_x"].mean(-1, keepdim=True)) * self.weight  # [B, 2]
        return {"layer_0": {"mean": {"regr": regr}}, "final": {"mean": {"regr": regr}}}

    def match(self, outputs: dict[str, Any], targets: dict[str, Tensor]) -> dict[str, Any]:
        return {layer: {"mean": {"regr": tasks["mean"]["regr"].flip(-1)}} for layer, tasks in outputs.items()}

    def loss(self, outputs: dict[str, Any], targets: dict[str, Tensor]) -> dict[str, Any]:
        return {
            layer: {"mean": {"l2": (tasks["mean"]["regr"] - targets["particle_x"]).square().mean()}}
            for layer, tasks in outputs.items()
        }

    def predict(self, outputs: dict[str, Any]) -> dict[str, Any]:
        return {"final": {"mean": {"x": outputs["final"]["mean"]["regr"] + self.tasks[0].offset}}}

    def metrics(self, preds: dict[str, Any], targets: dict[str, Tensor]) -> dict[str, Any]:
        return {"mean": {"bias": (preds["final"]["mean"]["x"] - targets["particle_x"]).mean()}}


class Data(pl.LightningDataModule):
    """Six batches of four events with random hits; `poison` makes the targets of one training batch NaN."""

    def __init__(self, poison: int | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.batches = [self.batch(index, generator) for index in range(6)]
        if poison is not None:
            self.batches[poison][1]["particle_x"][:] = torch.nan

    @staticmethod
    def batch(index: int, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        inputs = {"hit_x": torch.randn(4, 5, generator=generator), "hit_valid": torch.ones(4, 5, dtype=torch.bool)}
        targets = {
            "particle_x": torch.randn(4, 2, generator=generator),
            "sample_id": torch.arange(4) + 4 * index,
        }
        return inputs, targets

    def train_targets(self) -> dict[str, Tensor]:
        return {"x": torch.tensor([1.0, 2.0, 6.0])}

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def make_data() -> Callable[..., Data]:
    return Data
