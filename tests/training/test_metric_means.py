"""Metrics that some batches do not define, in one process and in two."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from hitpool.training import TrackingModule
from hitpool.training.metric_means import MetricMeans

from .tracking import Events, make_network, make_regression

pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|LeafSpec|no logger|fork)")


def test_mean_over_the_events_of_the_batches_that_define_it() -> None:
    means = MetricMeans()
    means.add({"b": torch.tensor(1.0), "a": torch.tensor(4.0)}, 3)
    means.add({"b": torch.tensor(2.0)}, 1)
    assert list(means.collect(1).items()) == [("a", 4.0), ("b", 1.25)]
    assert means.collect(1) == {}


def test_means_go_on_after_a_restart() -> None:
    whole, first, second = MetricMeans(), MetricMeans(), MetricMeans()
    for means in (whole, first):
        means.add({"a": torch.tensor(0.1)}, 3)
    assert first.means(1) == whole.means(1)
    second.load_state_dict(first.state_dict())
    for means in (whole, second):
        means.add({"a": torch.tensor(0.7), "b": torch.tensor(1.0)}, 4)
    assert second.collect(1) == whole.collect(1)
    assert second.means(1) == {}


class ByRank(TrackingModule):
    """Its first process has no purity, its second no efficiency."""

    def __init__(self, folder: Path) -> None:
        super().__init__("ranks", make_network(1, make_regression()))
        self.folder = folder
        self.model.metrics = self.by_rank

    def by_rank(self, preds: Any, targets: Any) -> dict[str, dict[str, torch.Tensor]]:
        value = torch.tensor(self.global_rank + 1.0)
        return {"task": {("efficiency", "purity")[self.global_rank]: value, "accuracy": value}}

    def on_validation_end(self) -> None:
        torch.save(dict(self.trainer.callback_metrics), self.folder / f"{self.global_rank}.pt")


def test_processes_with_different_metrics_do_not_wait_for_each_other(tmp_path: Path) -> None:
    strategy = DDPStrategy(start_method="fork", timeout=timedelta(seconds=60))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=strategy,
        default_root_dir=tmp_path,
        use_distributed_sampler=False,
        **quiet,
    )
    trainer.validate(ByRank(tmp_path), datamodule=Events(), verbose=False)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        means = {name.rpartition("_")[2]: value.item() for name, value in found.items() if "task" in name}
        assert means == {"accuracy": 1.5, "efficiency": 1.0, "purity": 2.0}
