"""The YAML of the original document, apart from the path of the module."""

import pytest
import yaml
from jsonargparse import ArgumentParser
from torch import nn

from hitpool.parser import objects_of

SEED = """
class_path: torch.nn.ModuleList
init_args:
  modules:
    - class_path: hitpool.tasks.ObjectValidTask
      init_args:
        name: track_valid
        input_object: query
        output_object: track
        target_object: particle
        losses:
          object_bce: 1.0
        costs:
          object_bce: 10.0
        dim: 32
        null_weight: 1.0
        mask_queries: false
    - class_path: hitpool.tasks.ObjectHitMaskTask
      init_args:
        name: track_hit_valid
        input_hit: hit
        input_object: query
        output_object: track
        target_object: particle
        losses:
          mask_bce: 1.0
        costs:
          mask_bce: 1.0
        dim: 32
        null_weight: 1.0
        mask_attn: true
    - class_path: hitpool.tasks.WeightedPoolingObjectHitRegressionTask
      init_args:
        name: parameter_regression
        input_hit: hit
        input_object: query
        output_object: track
        target_object: particle
        hit_fields: [spacePoint_globEdgeHighX, spacePoint_time, r, s, theta, phi, eta]
        fields: [truthMuon_eta, truthMuon_phi, truthMuon_pt, truthMuon_q]
        inverse_fields: [truthMuon_pt]
        loss_weight: 1.0
        dim: 32
        assignment_threshold: 0.1
"""
OPTIONS = {
    "standardize": {"truthMuon_pt": [0.05, 0.04]},
    "prediction_range": {"truthMuon_pt": [2, 500]},
    "periodic_fields": ["truthMuon_phi"],
    "sign_fields": ["truthMuon_q"],
    "loss": "l1",
    "regression_num_layers": 2,
}


def instantiate(config: dict) -> nn.ModuleList:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--tasks", type=nn.ModuleList)
    parsed = parser.parse_object({"tasks": config})
    return objects_of(parser, parsed).tasks


def test_yaml_of_the_original_gives_the_tasks() -> None:
    valid, mask, regression = instantiate(yaml.safe_load(SEED))
    assert (valid.name, mask.name, regression.name) == ("track_valid", "track_hit_valid", "parameter_regression")
    assert valid.costs == {"object_bce": 10.0}
    assert regression.space.inverse.tolist() == [False, False, True, False]
    assert regression.raw_hit_net.input_size == 7
    assert regression.regression_head.input_size == 5 * 32


def test_wide_task_takes_all_options() -> None:
    config = yaml.safe_load(SEED)
    arguments = {"pooled_dim": 32, "regression_hidden_dim": 144, "regression_num_layers": 3, "dropout": 0.1}
    config["init_args"]["modules"][2]["init_args"] |= OPTIONS | arguments
    regression = instantiate(config)[2]
    assert regression.regression_head.input_size == 9 * 32
    assert regression.loss_name == "l1"
    del config["init_args"]["modules"][2]["init_args"]["hit_fields"]
    with pytest.raises(Exception, match="hit_fields"):
        instantiate(config)


def test_options_of_every_regression_task_are_accepted() -> None:
    config = yaml.safe_load(SEED)
    config["init_args"]["modules"][2]["init_args"] |= OPTIONS
    regression = instantiate(config)[2]
    assert regression.space.spread.tolist() == pytest.approx([1.0, 1.0, 0.04, 1.0])
    assert regression.space.high.tolist()[2] == 500.0
    assert regression.loss_name == "l1"
    config["init_args"]["modules"][2]["init_args"]["standardize"] = True
    assert regression.space.standardize != instantiate(config)[2].space.standardize


def test_unknown_argument_is_refused() -> None:
    config = yaml.safe_load(SEED)
    config["init_args"]["modules"][1]["init_args"]["treshold"] = 0.2
    with pytest.raises(Exception, match="treshold"):
        instantiate(config)
