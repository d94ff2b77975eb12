import copy
import re
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from hitpool.training import OneCycle, TrackingModule
from hitpool.weights import CheckpointError

from .tracking import Events, make_network, make_regression

pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|no logger|in eval mode)")
PARTS = ["input_nets", "encoder", "decoder", "tasks.0", "tasks.1", "tasks.2"]
ENCODER = PARTS[:2]
ALL = PARTS[:-1]  # but the regression


def trainer(path: Path, **options: object) -> pl.Trainer:
    options = {"max_epochs": 2, "logger": False, "enable_checkpointing": False, **options}
    return pl.Trainer(
        default_root_dir=path,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Checkpoint of a training with the usual regression task."""
    fit = trainer(tmp_path, max_epochs=1)
    fit.fit(TrackingModule("base", make_network(1, make_regression())), datamodule=Events())
    fit.save_checkpoint(tmp_path / "base.ckpt")
    return tmp_path / "base.ckpt"


@pytest.fixture
def frozen(base: Path) -> Callable[..., TrackingModule]:
    """Training of a network with other weights on top of that checkpoint."""

    def make(freeze_all: bool, checkpoint: Path = base, layers: int = 1) -> TrackingModule:
        network = make_network(2, make_regression(standardize=True), layers)
        rates = OneCycle(initial=1e-2, max=1e-2, end=1e-2)
        names = ALL if freeze_all else ENCODER
        return TrackingModule("frozen", network, lrs_config=rates, network_checkpoint=str(checkpoint), frozen=names)

    return make


def changed(network: nn.Module, checkpoint: Path) -> list[str]:
    """Parts of which a weight differs from the checkpoint."""
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    other = [
        key
        for key, value in network.state_dict().items()
        if f"model.{key}" not in stored or not torch.equal(value, stored[f"model.{key}"])
    ]
    return [part for part in PARTS if any(key.startswith(f"{part}.") for key in other)]


@pytest.mark.parametrize(
    ("freeze_all", "trained"), [(True, ["tasks.2"]), (False, ["decoder", "tasks.0", "tasks.1", "tasks.2"])]
)
def test_frozen_parts_are_the_checkpoints(
    tmp_path: Path, base: Path, frozen: Callable, freeze_all: bool, trained: list[str], capsys: pytest.CaptureFixture
) -> None:
    module = frozen(freeze_all)
    assert changed(module.model, base) == PARTS
    fit = trainer(tmp_path)
    fit.fit(module, datamodule=Events())
    assert changed(module.model, base) == trained
    assert "input_nets, encoder, decoder, tasks.0, tasks.1 from" in capsys.readouterr().out
    optimised = {id(p) for group in fit.optimizers[0].param_groups for p in group["params"]}
    free = {id(p) for name, p in module.model.named_parameters() if any(name.startswith(f"{t}.") for t in trained)}
    assert optimised == free
    losses = {name for name in fit.callback_metrics if name.startswith("train/")}
    assert ("train/final_track_hit_valid_mask_bce" in losses) == (not freeze_all)
    assert ("train/layer_0_track_hit_valid_mask_bce" in losses) == (not freeze_all)
    assert "train/final_parameter_regression_smooth_l1" in losses


def test_frozen_parts_have_no_dropout_and_no_gradients(base: Path, frozen: Callable) -> None:
    module = frozen(True)
    module.start.load(module.model)
    module.model.tasks[2].fit_standardization(Events().train_targets())
    module.train()
    inputs, targets = Events().batches[0]
    one, two = (module.model(inputs)["final"]["track_hit_valid"]["track_hit_logit"] for _ in range(2))
    assert torch.equal(one, two)
    assert not one.requires_grad
    losses = module.model.loss(module.model.match(module.model(inputs), targets), targets)
    assert list(losses) == ["final"]
    assert list(losses["final"]) == ["parameter_regression"]
    losses["final"]["parameter_regression"]["smooth_l1"].backward()
    with_gradient = {name.rpartition(".")[0] for name, p in module.model.named_parameters() if p.grad is not None}
    assert all(name.startswith("tasks.2.") for name in with_gradient)
    module.eval()
    assert not any(part.training for part in module.modules())
    module.train()
    assert module.model.tasks[2].training
    assert not any(part.training for part in module.model.encoder.modules())
    part = frozen(False)
    part.train()
    assert part.model.decoder.training
    assert not part.model.encoder.training


def test_a_continued_training_does_not_need_the_checkpoint(tmp_path: Path, base: Path, frozen: Callable) -> None:
    module = frozen(True)
    fit = trainer(tmp_path, max_epochs=1)
    fit.fit(module, datamodule=Events())
    fit.save_checkpoint(tmp_path / "last.ckpt")
    kept = copy.deepcopy(module.model.state_dict())
    (moved := base.with_name("moved.ckpt")).write_bytes(base.read_bytes())
    base.unlink()
    other = frozen(True)
    trainer(tmp_path).fit(other, datamodule=Events(), ckpt_path=tmp_path / "last.ckpt")
    assert changed(other.model, moved) == ["tasks.2"]
    assert any(not torch.equal(value, kept[key]) for key, value in other.model.state_dict().items())


def test_unfitting_checkpoints_are_refused_before_the_training(tmp_path: Path, base: Path, frozen: Callable) -> None:
    def message(module: TrackingModule) -> str:
        before = copy.deepcopy(module.model.state_dict())
        with pytest.raises((CheckpointError, FileNotFoundError)) as error:
            trainer(tmp_path).fit(module, datamodule=Events())
        after = module.model.state_dict()
        assert all(torch.equal(after[key], value) for key, value in before.items() if "space" not in key)
        return str(error.value)

    assert "nothere.ckpt does not exist" in message(frozen(True, tmp_path / "nothere.ckpt"))
    assert "encoder.layers.1 is missing in the checkpoint" in message(frozen(True, layers=2))
    stored = torch.load(base, weights_only=True)["state_dict"]
    changes = {
        "narrow": ("encoder.norm.weight is [15] in the checkpoint and [16] in the model", {"encoder.norm.weight": 15}),
        "deep": ("encoder.layers.9 of the checkpoint is not in the model", {"encoder.layers.9.x": 3}),
    }
    for name, (expected, entries) in changes.items():
        weights = stored | {f"model.{key}": torch.zeros(size) for key, size in entries.items()}
        torch.save({"state_dict": weights}, tmp_path / f"{name}.ckpt")
        assert expected in message(frozen(False, tmp_path / f"{name}.ckpt"))
    encoder = {key: value for key, value in stored.items() if not key.startswith(("model.tasks", "model.decoder"))}
    torch.save({"state_dict": encoder}, tmp_path / "encoder.ckpt")
    assert "decoder.queries is missing" in message(frozen(True, tmp_path / "encoder.ckpt"))


def test_encoder_alone_is_enough_if_the_rest_is_trained(
    tmp_path: Path, base: Path, frozen: Callable, capsys: pytest.CaptureFixture
) -> None:
    stored = torch.load(base, weights_only=True)["state_dict"]
    weights = {k.removeprefix("model."): v for k, v in stored.items() if k.startswith(("model.input", "model.enc"))}
    torch.save(weights, tmp_path / "encoder.ckpt")
    module = frozen(False, tmp_path / "encoder.ckpt")
    trainer(tmp_path, max_epochs=1).fit(module, datamodule=Events())
    assert changed(module.model, base) == ["decoder", "tasks.0", "tasks.1", "tasks.2"]
    assert "not in it: decoder, tasks.0, tasks.1; frozen: input_nets, encoder" in capsys.readouterr().out


def test_a_network_without_frozen_parts_starts_from_what_is_there(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture
) -> None:
    network, seen = make_network(2, make_regression()), []

    class Module(TrackingModule):
        def on_train_start(self) -> None:
            seen.extend(changed(self.model, base))

    module = Module("start", network, network_checkpoint=str(base))
    trainer(tmp_path, max_epochs=1).fit(module, datamodule=Events())
    assert seen == ["tasks.2"]
    assert changed(module.model, base) == PARTS
    assert re.search(
        r"network: input_nets, encoder, decoder, tasks.0, tasks.1 from .*base.ckpt\n", capsys.readouterr().out
    )


def test_a_frozen_regression_is_the_checkpoints(tmp_path: Path, base: Path) -> None:
    module = TrackingModule(
        "frozen", make_network(2, make_regression()), network_checkpoint=str(base), frozen=["tasks"]
    )
    module.start.load(module.model)
    assert changed(module.model, base) == []
    assert [p.requires_grad for p in module.model.tasks.parameters()] == [False] * len(
        list(module.model.tasks.parameters())
    )
    assert all(p.requires_grad for p in module.model.decoder.parameters())


def test_wrong_names_and_a_missing_checkpoint_are_errors(tmp_path: Path, base: Path) -> None:
    def make(frozen: list[str], checkpoint: Path | None = base) -> TrackingModule:
        path = None if checkpoint is None else str(checkpoint)
        return TrackingModule("x", make_network(1, make_regression()), network_checkpoint=path, frozen=frozen)

    names = "input_nets, encoder, decoder, tasks.0, tasks.1, tasks.2, tasks"
    for name in ("encoder.layers.0", "tasks.3", "enc", ""):
        with pytest.raises(ValueError, match=rf"model.frozen: expected names among {names}, got '{name}'$"):
            make(["encoder", name])
    with pytest.raises(ValueError, match=r"model.frozen: encoder need model.network_checkpoint, which is not set"):
        make(["encoder"], None)
    torch.save({"other.weight": torch.ones(2)}, tmp_path / "other.ckpt")
    module = make([], tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"it has none of input_nets, encoder, decoder, tasks.0, tasks.1"):
        module.start.check(module.model)
