import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from hitpool.training import OneCycle, TrackingModule

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|no logger)")


def trainer(path: Path, **options: Any) -> Trainer:
    options = {"max_epochs": 2, "logger": False, "enable_checkpointing": False, **options}
    return Trainer(
        default_root_dir=path,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


class Record(Callback):
    def __init__(self) -> None:
        self.rates: list[float] = []
        self.randoms: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.randoms.append(torch.rand(()).item())

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].item())


@pytest.mark.parametrize("name", ["AdamW", "Lion"])
def test_each_step_has_its_learning_rate(tmp_path: Path, model: nn.Module, make_data: Callable, name: str) -> None:
    cycle = OneCycle(initial=1e-3, max=1e-2, end=1e-4, pct_start=0.4, weight_decay=0.01)
    module, record = TrackingModule("test", model, name, cycle), Record()
    before = model.weight.detach().clone()
    fit = trainer(tmp_path, callbacks=[record])
    fit.fit(module, datamodule=make_data())
    assert type(fit.optimizers[0]).__name__ == name
    assert fit.optimizers[0].param_groups[0]["weight_decay"] == 0.01
    assert record.rates == pytest.approx([cycle.at(step, 12) for step in range(12)])
    assert not torch.equal(before, model.weight)


def test_loss_is_the_sum_of_all_terms(tmp_path: Path, model: nn.Module, make_data: Callable) -> None:
    model.eval()
    data, record = make_data(), Record()
    model.dropout.p = 0.0
    inputs, targets = data.batches[0]
    loss = model.loss(model.match(model(inputs), targets), targets)
    expected = loss["layer_0"]["mean"]["l2"] + loss["final"]["mean"]["l2"]
    fit = trainer(tmp_path, callbacks=[record], max_epochs=1)
    fit.fit(TrackingModule("test", model), datamodule=data)
    assert record.losses[0] == pytest.approx(expected.item())
    logged = fit.callback_metrics
    assert logged["train/loss"] == pytest.approx(sum(record.losses) / 6)
    assert logged["train/layer_0_mean_l2"] + logged["train/final_mean_l2"] == pytest.approx(logged["train/loss"].item())
    assert {"val/loss", "val/final_mean_bias", "val/final_mean_l2"} <= set(logged)


def test_targets_standardise_and_a_checkpoint_keeps_its_own(
    tmp_path: Path, model: nn.Module, make_data: Callable
) -> None:
    data = make_data()
    fit = trainer(tmp_path, max_epochs=1)
    fit.fit(TrackingModule("test", model), datamodule=data)
    assert model.tasks[0].offset == 3.0
    model.tasks[0].offset.fill_(7.0)
    fit.save_checkpoint(tmp_path / "last.ckpt")
    fit = trainer(tmp_path, max_epochs=2)
    fit.fit(TrackingModule("test", model), datamodule=data, ckpt_path=tmp_path / "last.ckpt")
    assert model.tasks[0].offset == 7.0


def test_nan_stops_the_training_with_step_and_term(tmp_path: Path, model: nn.Module, make_data: Callable) -> None:
    expected = r"train step 4 of epoch 1: the loss is nan \(layer_0_mean_l2 = nan, final_mean_l2 = nan\).*\[16, 17"
    with pytest.raises(FloatingPointError, match=expected):
        trainer(tmp_path).fit(TrackingModule("test", model), datamodule=make_data(poison=4))


def test_randomness_depends_on_seed_and_epoch(
    tmp_path: Path, model: nn.Module, make_data: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def randoms(seed: str, disturb: int) -> list[float]:
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        torch.manual_seed(disturb)
        record = Record()
        trainer(tmp_path, callbacks=[record]).fit(TrackingModule("test", model), datamodule=make_data())
        return record.randoms

    first = randoms("1", 10)
    assert first == randoms("1", 20)
    assert first != randoms("2", 10)
    assert first[:6] != first[6:]


def test_test_is_matched_and_predict_is_not(model: nn.Module, make_data: Callable) -> None:
    module, data = TrackingModule("test", model).eval(), make_data()
    model.tasks[0].offset.fill_(0.0)
    module.log = module.log_dict = lambda *_, **__: None
    module.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    tested, predicted = module.test_step(data.batches[1], 0), module.predict_step(data.batches[1], 0)
    assert set(tested) == set(predicted) == {"preds", "outputs", "targets", "inputs"}
    assert torch.equal(tested["preds"]["mean"]["x"], predicted["preds"]["mean"]["x"].flip(-1))
    assert torch.equal(tested["targets"]["sample_id"], torch.arange(4, 8))


def test_endless_training_has_no_schedule(tmp_path: Path, model: nn.Module, make_data: Callable) -> None:
    with pytest.raises(ValueError, match=r"set trainer\.max_epochs or max_steps"):
        trainer(tmp_path, max_epochs=-1).fit(TrackingModule("test", model), datamodule=make_data())
