"""Checkpoints with the keys that hepattn and its muon fork write; the networks in them are written here."""

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from hitpool.fits import HelixFit
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.training import TrackingModule
from hitpool.training.transfer import load_regression_task
from hitpool.weights import CheckpointError

from .tracking import FIELDS, HIT_FIELDS, Events, make_network, make_regression

pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|no logger)")
DIM = 16
NETS = ["raw_hit_net", "encoded_hit_net", "regression_head"]


class Gate(nn.Module):
    """Value times gate over (1 + exp(-gate))."""

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[-1] // 2
        return x[..., :width] * x[..., width:] / (1 + torch.exp(-x[..., width:]))


class Theirs(nn.Module):
    """Linear layers with an activation in between, under the key `net`."""

    def __init__(self, *widths: int, norm: bool = False, gated: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(1, len(widths)):
            hidden = i < len(widths) - 1
            layers.append(nn.Linear(widths[i - 1], widths[i] * (2 if gated and hidden else 1)))
            if hidden:
                activation = Gate() if gated else nn.SiLU()
                layers += [nn.ReLU(), nn.LayerNorm(widths[i]), nn.Dropout(0.1)] if norm else [activation]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TheirTask(nn.Module):
    """The networks of the task, and what it computes, by broadcasting."""

    def __init__(
        self, pooled: int = DIM // 2, head: list[int] | None = None, norm: bool = False, gated: bool = False
    ) -> None:
        super().__init__()
        size = DIM + 8 * pooled
        self.raw_hit_net = Theirs(len(HIT_FIELDS), 2 * len(HIT_FIELDS), pooled, gated=gated)
        self.encoded_hit_net = Theirs(DIM, 2 * DIM, pooled, gated=gated)
        self.regression_head = Theirs(size, *(head or []), len(FIELDS), norm=norm)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        p = x["track_hit_logit"].sigmoid()
        selected = (p >= 0.1) & x["hit_valid"].unsqueeze(1)
        weight = torch.where(selected, p, 0.0).unsqueeze(-1)  # [B, N, M, 1]
        fields = torch.stack([x["inputs"][f"hit_{name}"] for name in HIT_FIELDS], dim=-1)
        parts = [x["query_embed"]]
        for features in (self.raw_hit_net(fields), self.encoded_hit_net(x["hit_embed"])):
            features = features.unsqueeze(1)  # [B, 1, M, P]
            total = (weight * features).sum(2)
            chosen = selected.unsqueeze(-1)
            high = features.masked_fill(~chosen, -torch.inf).amax(2)
            low = features.masked_fill(~chosen, torch.inf).amin(2)
            parts += [total / weight.sum(2).clamp(min=1e-8), total, high, low]
        return self.regression_head(torch.cat(parts, dim=-1))


@pytest.fixture
def x() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(8)
    x = {"inputs": {f"hit_{name}": torch.randn(3, 9, generator=generator) for name in HIT_FIELDS}}
    x |= {"hit_embed": torch.randn(3, 9, DIM, generator=generator), "hit_valid": torch.ones(3, 9, dtype=torch.bool)}
    x |= {"query_embed": torch.randn(3, 2, DIM, generator=generator)}
    return x | {"track_hit_logit": torch.randn(3, 2, 9, generator=generator)}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint of hepattn: every task twice, other tasks beside it, and the configuration."""

    def write(task: nn.Module, index: int = 2, decoder: str = "decoder.", **entries: object) -> Path:
        weights = {
            "model.encoder.layers.0.attn.in_proj_weight": torch.zeros(3),
            "model.tasks.0.net.0.weight": torch.ones(2),
        }
        for owner in ("model.", f"model.{decoder}"):
            weights |= {f"{owner}tasks.{index}.{key}": value.clone() for key, value in task.state_dict().items()}
        content = {"state_dict": weights, "epoch": 3, "hyper_parameters": {"lrs_config": {"max": 1e-3}, "name": "muon"}}
        torch.save(content | entries, tmp_path / "theirs.ckpt")
        return tmp_path / "theirs.ckpt"

    return write


def make_theirs(seed: int = 5, **options: object) -> TheirTask:
    torch.manual_seed(seed)
    return TheirTask(**options)


WIDE = {"pooled_dim": DIM, "regression_num_layers": 3, "regression_hidden_dim": 72, "dropout": 0.1}
FORK = {"layer_norm": "hidden", "head_activation": "relu"}
CASES = {
    "projection as head": ({}, {}),
    "projection as head, SwiGLU": ({"gated": True}, {"activation": "swiglu"}),
    "hidden layer as head": (
        {"head": [2 * 5 * DIM]},
        {"regression_num_layers": 2, "regression_hidden_dim": 2 * 5 * DIM},
    ),
    "full width": ({"pooled": DIM, "head": [72, 72]}, WIDE),
    "head of the fork": (
        {"pooled": DIM, "head": [72, 72], "norm": True, "gated": True},
        {**WIDE, **FORK, "activation": "swiglu"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_other_network(case: str, x: dict, write: Callable) -> None:
    their_options, our_options = CASES[case]
    theirs, task = make_theirs(**their_options).double().eval(), make_regression(**our_options).double().eval()
    transfer = load_regression_task(write(theirs), task)
    assert list(transfer.taken) == NETS
    assert not transfer.left
    width = 12 if "gated" in their_options else 6
    assert transfer.taken["raw_hit_net"] == f"3 -> {width} -> {task.pooled_dim}"
    assert "model.tasks.2" in str(transfer)
    x["inputs"] = {name: values.double() for name, values in x["inputs"].items()}
    x |= {name: x[name].double() for name in ("hit_embed", "query_embed", "track_hit_logit")}
    with torch.no_grad():
        torch.testing.assert_close(task(x, {"mask": x})["track_regr"], theirs(x), atol=1e-6, rtol=1e-6)


def test_keys_of_compiled_decoders_are_understood(x: dict, write: Callable) -> None:
    theirs, task = make_theirs(), make_regression()
    load_regression_task(write(theirs, decoder="decoder._orig_mod."), task)
    with torch.no_grad():
        torch.testing.assert_close(task(x, {"mask": x})["track_regr"], theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"layer_norm": True}, {"layer_norm": "hidden"}, {"head_activation": "relu"}])
def test_head_of_the_fork_needs_its_norm_and_its_activation(write: Callable, options: dict) -> None:
    theirs = make_theirs(pooled=DIM, head=[72, 72], norm=True)
    task = make_regression(**WIDE, **options)
    before = {key: value.clone() for key, value in task.regression_head.state_dict().items()}
    transfer = load_regression_task(write(theirs), task)
    assert list(transfer.taken) == NETS[:2]
    widths = "144 -> 72 [LayerNorm 72] -> 72 [LayerNorm 72] -> 4"
    expected = f"{widths}, the fork's head: set layer_norm: hidden and head_activation: relu"
    assert transfer.left["regression_head"] == expected
    assert all(torch.equal(value, before[key]) for key, value in task.regression_head.state_dict().items())
    assert torch.equal(task.raw_hit_net[0].weight, theirs.raw_hit_net.net[0].weight)


def test_layer_norm_at_another_place_is_left_with_the_reason(write: Callable) -> None:
    theirs = make_theirs(pooled=DIM, head=[72, 72], norm=True)
    linear, relu, norm, dropout, *rest = theirs.regression_head.net
    theirs.regression_head.net = nn.Sequential(linear, norm, relu, dropout, *rest)
    transfer = load_regression_task(write(theirs), make_regression(**WIDE, **FORK))
    assert "the checkpoint does not say where LayerNorm stands" in transfer.left["regression_head"]


@pytest.mark.parametrize("gated", [True, False])
def test_shapes_tell_a_gate(write: Callable, gated: bool) -> None:
    task = make_regression(activation="silu" if gated else "swiglu")
    transfer = load_regression_task(write(make_theirs(gated=gated)), task)
    assert list(transfer.taken) == ["regression_head"]
    advice = "activation: swiglu is that of the checkpoint" if gated else "activation: swiglu is not in the checkpoint"
    widths = ["3 -> 12 -> 8", "3 -> 6 -> 8"][:: 1 if gated else -1]
    assert transfer.left["raw_hit_net"] == f"{widths[0]} in the checkpoint, {widths[1]} in the model; {advice}"


def test_other_widths_are_left_with_both_shapes(write: Callable) -> None:
    transfer = load_regression_task(write(make_theirs()), make_regression(hit_fields=["x", "y"]))
    assert transfer.left == {"raw_hit_net": "3 -> 6 -> 8 in the checkpoint, 2 -> 4 -> 8 in the model"}
    with pytest.raises(CheckpointError) as error:
        load_regression_task(write(make_theirs(pooled=DIM)), make_regression())
    for text in (
        "nothing could be taken",
        "16 -> 32 -> 16 in the checkpoint, 16 -> 32 -> 8 in the model",
        "144 -> 4 in",
    ):
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"standardize": True}, "set standardize: false"), ({"sign_fields": ["truthMuon_q"]}, "remove sign_fields")],
)
def test_head_of_another_learned_space_is_left(write: Callable, options: dict, reason: str) -> None:
    transfer = load_regression_task(write(make_theirs()), make_regression(**options))
    assert list(transfer.taken) == NETS[:2]
    assert reason in transfer.left["regression_head"]


def test_task_of_hitpool_in_a_checkpoint_of_hepattn(x: dict, write: Callable) -> None:
    options = {"layer_norm": True, "regression_num_layers": 3, "standardize": True}
    theirs, task = make_regression(**options), make_regression(dropout=0.2, **options).eval()
    theirs.fit_standardization({field: torch.tensor([1.0, 2.0, 5.0]) for field in FIELDS})
    transfer = load_regression_task(write(theirs), task)
    assert list(transfer.taken) == NETS
    with torch.no_grad():
        assert torch.equal(task(x, {"mask": x})["track_regr"], theirs(x, {"mask": x})["track_regr"])
        for name, value in theirs.predict(theirs(x, {"mask": x})).items():
            assert torch.equal(task.predict(task(x, {"mask": x}))[name], value)


def test_fit_of_a_task_of_hitpool_is_taken_with_the_head(x: dict, write: Callable) -> None:
    def make(seed: int) -> WeightedPoolingObjectHitRegressionTask:
        torch.manual_seed(seed)
        fit = HelixFit(hit_fields=HIT_FIELDS[:1], points=HIT_FIELDS, field=2.0)
        return make_regression(track_fit=fit, inverse_fields=None)

    theirs, task = make(1), make(2)
    assert not torch.equal(task(x, {"mask": x})["track_regr"], theirs(x, {"mask": x})["track_regr"])
    transfer = load_regression_task(write(theirs), task)
    assert list(transfer.taken) == [*NETS, "track_fit.precision", "track_fit.mixture"]
    assert torch.equal(task(x, {"mask": x})["track_regr"], theirs(x, {"mask": x})["track_regr"])


def test_checkpoints_without_one_regression_task_are_refused(tmp_path: Path, write: Callable) -> None:
    task = make_regression()
    torch.save({"state_dict": {"model.tasks.2.net.0.weight": torch.ones(2)}}, tmp_path / "query.ckpt")
    with pytest.raises(
        CheckpointError, match=r"expected one task with weights in raw_hit_net.*model.tasks.2.net.0.weight"
    ):
        load_regression_task(tmp_path / "query.ckpt", task)
    path = write(make_theirs())
    two = torch.load(path, weights_only=True)["state_dict"]
    torch.save(two | {k.replace("tasks.2", "tasks.4"): v for k, v in two.items()}, path)
    with pytest.raises(CheckpointError, match=r"it has tasks\.2, tasks\.4"):
        load_regression_task(path, task)
    two["model.decoder.tasks.2.raw_hit_net.net.0.bias"] += 1
    torch.save(two, path)
    with pytest.raises(
        CheckpointError, match=r"model.tasks.2. and model.decoder.tasks.2. are the same task, but their"
    ):
        load_regression_task(path, task)


def test_unexpected_tensors_are_left(write: Callable) -> None:
    theirs = make_theirs()
    theirs.raw_hit_net.scale = nn.Parameter(torch.ones(3))
    transfer = load_regression_task(write(theirs), make_regression())
    assert "it has scale: expected weight and bias" in transfer.left["raw_hit_net"]


def trainer(path: Path, epochs: int) -> pl.Trainer:
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(
        max_epochs=epochs, default_root_dir=path, accelerator="cpu", enable_model_summary=False, **options
    )


def test_a_training_starts_from_it_and_a_continued_one_does_not(
    tmp_path: Path, write: Callable, capsys: pytest.CaptureFixture
) -> None:
    theirs, seen = make_theirs(), []

    class Module(TrackingModule):
        def on_train_start(self) -> None:
            seen.append(self.model.tasks[2].raw_hit_net[0].weight.detach().clone())

    path = write(theirs)
    module = Module("start", make_network(1, make_regression()), regression_checkpoint=str(path))
    fit = trainer(tmp_path, 1)
    fit.fit(module, datamodule=Events())
    assert torch.equal(seen[0], theirs.raw_hit_net.net[0].weight)
    assert "encoded_hit_net  taken: 16 -> 32 -> 8" in capsys.readouterr().out
    trained = module.model.tasks[2].raw_hit_net[0].weight.detach().clone()
    assert not torch.equal(trained, seen[0])
    fit.save_checkpoint(tmp_path / "last.ckpt")
    path.unlink()
    other = Module("start", make_network(2, make_regression()), regression_checkpoint=str(path))
    trainer(tmp_path, 2).fit(other, datamodule=Events(), ckpt_path=tmp_path / "last.ckpt")
    assert torch.equal(seen[1], trained)


def test_a_model_without_pooled_regression_cannot_use_it(tmp_path: Path, write: Callable) -> None:
    network = make_network(1, make_regression())
    network.tasks = network.tasks[:2]
    assert not any(isinstance(task, WeightedPoolingObjectHitRegressionTask) for task in network.tasks)
    module = TrackingModule("start", network, regression_checkpoint=str(write(make_theirs())))
    with pytest.raises(CheckpointError, match="needs a model with one WeightedPoolingObjectHitRegressionTask, not 0"):
        trainer(tmp_path, 1).fit(module, datamodule=Events())
