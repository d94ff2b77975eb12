"""Which networks a configuration of hepattn means: activations, charge, position encoding."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from hitpool.config import load

from .translations import module, modules, translated

DATA = Path(__file__).parents[1] / "cli" / "data"
SWIGLU = "Dense without activation -> swiglu, its default before November 2025"


def activations(node: Any) -> list[str]:
    """All values of `activation` in a configuration."""
    if isinstance(node, list):
        return [value for entry in node for value in activations(entry)]
    if not isinstance(node, dict):
        return []
    own = [node["activation"]] if "activation" in node else []
    return own + [value for entry in node.values() for value in activations(entry)]


def test_a_file_of_the_fork_means_swiglu_everywhere() -> None:
    ours, notices = translated(yaml.safe_load((DATA / "hepattn_fork.yaml").read_text()))
    # input net, encoder, decoder, three tasks
    assert activations(ours) == ["swiglu"] * 6
    assert notices.count(SWIGLU) == 1


def test_a_file_of_today_means_silu_and_says_nothing() -> None:
    ours, notices = translated(yaml.safe_load((DATA / "hepattn_upstream.yaml").read_text()))
    assert activations(ours) == []
    assert "swiglu" not in notices


def test_the_fork_gets_its_networks() -> None:
    """Widths of a network of the fork, from its settings alone: 23 fields, dim 32, all Dense gated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its notices
        model = load(DATA / "hepattn_fork.yaml").model.model
    task = model.tasks[2]
    fields, dim = len(task.hit_fields), task.dim
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    assert shapes["input_nets.0.net.0.weight"] == (4 * len(model.input_nets[0].fields), len(model.input_nets[0].fields))
    assert shapes["encoder.layers.0.dense.0.weight"] == (4 * dim, dim)
    assert shapes["decoder.layers.0.query_dense.2.weight"] == (dim, 2 * dim)
    assert shapes["tasks.0.net.0.weight"] == (4 * dim, dim)
    assert shapes["tasks.1.hit_net.0.weight"] == (4 * dim, dim)
    assert shapes["tasks.2.raw_hit_net.0.weight"] == (4 * fields, fields)
    assert shapes["tasks.2.encoded_hit_net.2.weight"] == (task.pooled_dim, 2 * dim)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"class_path": "torch.nn.SiLU"}, None),
        ("torch.nn.SiLU", None),
        ({"class_path": "torch.nn.ReLU"}, "relu"),
        ("torch.nn.GELU", "gelu"),
        ({"class_path": "hepattn.models.activation.SwiGLU"}, "swiglu"),
        ("SwiGLU", "swiglu"),
    ],
)
def test_a_given_activation_is_kept(given: Any, expected: str | None) -> None:
    """In a piece with `input_hit`, where none would mean swiglu."""
    hits = {"input_hit": "hit", "dim": 8}
    pieces = [
        module("Dense", input_size=8, activation=given),
        module("Encoder", dim=8, dense_kwargs={"activation": given}),
        module("ObjectHitMaskTask", "models.task", **hits, dense_kwargs={"activation": given}),
        module("ObjectValidTask", "models.task", net=module("Dense", input_size=8, output_size=1, activation=given)),
        module("MaskFormerDecoder", decoder_layer_config={"dense_kwargs": {"activation": given}}),
    ]
    ours, notices = translated(pieces)
    assert activations(ours) == ([] if expected is None else [expected] * len(pieces))
    assert SWIGLU not in notices


def test_another_activation_is_left_out_and_named() -> None:
    ours, notices = translated(module("Dense", input_size=8, activation={"class_path": "torch.nn.Tanh"}))
    assert activations(ours) == []
    assert "hitpool's network differs, left out: activation = torch.nn.Tanh" in notices


def test_settings_of_a_network_that_the_task_does_not_have_are_named() -> None:
    task = module("ObjectHitMaskTask", "models.task", input_hit="hit", dim=8, dense_kwargs={"hidden_dim_scale": 4})
    assert "left out: dense_kwargs: hidden_dim_scale = 4" in translated(task)[1]
    task["init_args"]["dense_kwargs"] = {"activaton": "torch.nn.ReLU"}
    with pytest.raises(ValueError, match=r"dense_kwargs does not accept 'activaton'.*hitpool has activation there"):
        translated(task)


def test_charge_as_a_class_is_a_sign() -> None:
    theirs = module(
        "ObjectChargeClassificationTask", "models.task", name="charge", input_object="query", output_object="track",
        target_object="particle", field="truthMuon_q", loss_weight=2.0, cost_weight=0.5, dim=8,
        dense_kwargs={"hidden_dim_scale": 2, "activation": None, "dropout": 0.0, "bias": True, "norm_input": False},
    )  # fmt: skip
    ours, notices = translated(theirs)
    assert ours["class_path"] == "hitpool.tasks.ObjectRegressionTask"
    fields = {"fields": ["truthMuon_q"], "sign_fields": ["truthMuon_q"]}
    common = {"name": "charge", "input_object": "query", "output_object": "track", "target_object": "particle"}
    weights = {"loss_weight": 2.0, "cost_weight": 0.5, "has_intermediate_loss": True, "dim": 8}
    assert ours["init_args"] == common | fields | weights
    assert "ObjectChargeClassificationTask -> a regression of truthMuon_q with sign_fields" in notices
    with pytest.raises(ValueError, match=r"field: expected the name of the charge among the targets, got None"):
        translated(module("ObjectChargeClassificationTask", "models.task", name="charge"))


def test_random_fourier_features_keep_their_arguments() -> None:
    theirs = module("FourierPositionEncoder", input_name="hit", dim=8, fields=["r", "phi"], scale=0.1)
    ours, notices = translated(modules(theirs))
    expected = {"input_name": "hit", "dim": 8, "fields": ["r", "phi"], "scale": 0.1}
    assert ours["init_args"]["modules"] == [{"class_path": "hitpool.nn.FourierPositionEncoder", "init_args": expected}]
    assert notices == ""
