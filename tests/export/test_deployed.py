import copy

import pytest
import torch
from torch import nn

from hitpool.config import Objects
from hitpool.export.deployed import DeployedModel, needed_columns
from hitpool.muon import HITS, unit
from hitpool.nn import MaskFormer

LOW = [f"spacePoint_globEdgeLow{axis}" for axis in "XYZ"]
HIGH = [f"spacePoint_globEdgeHigh{axis}" for axis in "XYZ"]


def test_needed_columns_are_fields_then_coordinates_of_points() -> None:
    assert needed_columns(["spacePoint_time", "phi", "r"]) == ["spacePoint_time", *LOW]
    assert needed_columns([LOW[2], "mid_eta"]) == [LOW[2], LOW[0], LOW[1], *HIGH]
    assert needed_columns(["a", "b"], {}) == ["a", "b"]


def test_scale_factors_of_columns_that_are_not_used_are_allowed(network: MaskFormer, objects: Objects) -> None:
    fields = objects.datamodule.inputs["hit"]
    factors = {name: column.scale for name, column in HITS.items()} | {"spacePoint_readOutSide": 3.0}
    model = DeployedModel(network, fields, factors, None)
    assert "spacePoint_readOutSide" not in model.columns
    assert model.column_scale[model.columns.index(LOW[0])] == 1e-3


def test_truth_is_not_an_input(network: MaskFormer, objects: Objects) -> None:
    model = DeployedModel(network, objects.datamodule.inputs["hit"])
    assert not any("truth" in column for column in model.columns)


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("track_valid", "exactly one ObjectValidTask, got 0"),
        ("track_hit_valid", "exactly one ObjectHitMaskTask, got 0"),
        ("parameter_regression", "no regression task"),
    ],
)
def test_a_missing_task_is_named(network: MaskFormer, objects: Objects, removed: str, message: str) -> None:
    smaller = copy.deepcopy(network)
    smaller.tasks = nn.ModuleList(task for task in smaller.tasks if task.name != removed)
    with pytest.raises(ValueError, match=message):
        DeployedModel(smaller, objects.datamodule.inputs["hit"])


def test_hit_probability_of_padding_is_zero(network: MaskFormer, objects: Objects) -> None:
    model = DeployedModel(network, objects.datamodule.inputs["hit"]).eval()
    valid = torch.tensor([[True, False, True]])
    hits = torch.where(valid.unsqueeze(-1), 1000.0, torch.nan).expand(1, 3, len(model.columns))
    with torch.no_grad():
        parameters, track, hit = model(hits, valid)
    assert parameters.isfinite().all()
    assert track.isfinite().all()
    assert (hit[..., 1] == 0).all()
    assert (hit[..., [0, 2]] > 0).all()


@pytest.mark.parametrize(
    ("field", "expected"),
    [("truthMuon_pt", "GeV"), ("spacePoint_driftR", "mm"), ("spacePoint_layer", ""), ("phi", "rad"), ("r", "")],
)
def test_units(field: str, expected: str) -> None:
    assert unit(field) == expected
