"""Names and widths of hepattn and of its muon fork, as arguments of the task and in their YAML files."""

import pytest
from jsonargparse import ArgumentParser
from torch import nn

from hitpool.hepattn.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.parser import objects_of

TASK = "hitpool.hepattn.tasks.WeightedPoolingObjectHitRegressionTask"
ARGUMENTS = {
    "name": "parameter_regression",
    "input_object": "query",
    "output_object": "track",
    "target_object": "particle",
    "hit_fields": ["x", "y", "z"],
    "fields": ["truthMuon_eta", "truthMuon_pt"],
    "inverse_fields": ["truthMuon_pt"],
    "loss_weight": 1.0,
    "dim": 8,
}
WIDE = {"regression_hidden_dim": 36, "regression_num_layers": 3, "dropout": 0.1}


def make(**options: object) -> WeightedPoolingObjectHitRegressionTask:
    return WeightedPoolingObjectHitRegressionTask(**(ARGUMENTS | {"input_hit": "hit"} | options))


def instantiate(**arguments: object) -> nn.ModuleList:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--tasks", type=nn.ModuleList)
    modules = [{"class_path": TASK, "init_args": ARGUMENTS | arguments}]
    config = {"class_path": "torch.nn.ModuleList", "init_args": {"modules": modules}}
    return objects_of(parser, parser.parse_object({"tasks": config})).tasks


def test_full_width_of_the_fork_needs_its_three_arguments_or_pooled_dim() -> None:
    task = make(**WIDE)
    linear = [(m.in_features, m.out_features) for m in task.regression_head if isinstance(m, nn.Linear)]
    assert linear == [(72, 36), (36, 36), (36, 2)]
    assert (task.raw_hit_net.output_size, task.encoded_hit_net.output_size) == (8, 8)
    for left_out in WIDE:
        assert make(**{k: v for k, v in WIDE.items() if k != left_out}).regression_head.input_size == 40
    assert make(**WIDE, pooled_dim=4).regression_head.input_size == 40
    assert make(pooled_dim=8).regression_head.input_size == 72
    assert make(**WIDE, dim=7).regression_head.input_size == 63


def test_configuration_of_upstream_gives_the_task() -> None:
    options = {"cost_weight": 0.5, "has_intermediate_loss": True, "loss": "l2"}
    (task,) = instantiate(input_constituent="hit", **options)
    assert (task.logit_key, task.cost_weight, task.loss_name) == ("track_hit_logit", 0.5, "l2")
    assert task.should_run_at_layer(0)


def test_configuration_of_the_fork_gives_the_task() -> None:
    (task,) = instantiate(input_hit="hit", assignment_threshold=0.2, **WIDE)
    assert (task.assignment_threshold, task.regression_head.input_size) == (0.2, 72)


def test_unknown_argument_is_refused() -> None:
    with pytest.raises(Exception, match="treshold"):
        instantiate(input_hit="hit", treshold=0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"input_constituent": "hit"},
            "set either input_hit or input_constituent.*got input_hit: hit and input_constit",
        ),
        ({"input_hit": None}, "set either input_hit or input_constituent.*got input_hit: None"),
        ({"input_hit": "key"}, "set unified_decoding: false"),
        ({"hit_fields": []}, "hit_fields is empty"),
        ({"dim": 7}, "dim must be even, got 7"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)
