"""Rounding of the inputs does not change what the models say, whatever the azimuth."""

import copy
import math
from pathlib import Path

import h5py
import pytest
import torch
import yaml
from torch import Tensor

from hitpool.config import Objects, load
from hitpool.export import DeployedModel
from hitpool.nn import MaskFormer
from hitpool.nn.angle import wrap_angle

EDGES = ("spacePoint_globEdgeLow", "spacePoint_globEdgeHigh")


def outputs(model: DeployedModel, hits: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Parameters by name, probabilities of tracks and of hits, each with events first."""
    with torch.no_grad():
        parameters, track, hit = model(hits, valid)
    return dict(zip(model.parameters_out, parameters.unbind(-1), strict=True)) | {"track": track, "hit": hit}


def largest_change(model: DeployedModel, hits: Tensor, changed: Tensor, valid: Tensor) -> float:
    """Over all events and outputs; pT and its error relative, azimuths by the shorter way round."""
    before, after = outputs(model, hits, valid), outputs(model, changed, valid)
    changes = {name: after[name] - before[name] for name in before}
    for name in before:
        if name.endswith("phi"):
            changes[name] = wrap_angle(changes[name])
        elif name.removesuffix("_error").rpartition("_")[2] == "pt":
            changes[name] = changes[name] / before[name]
    return max(change.abs().max().item() for change in changes.values())


@pytest.fixture(scope="module")
def muon_events(data_set: Path) -> tuple[list[str], Tensor, Tensor]:
    """Columns, hits and which are valid; each event is turned so that sensors of one sector lie across phi = pi."""
    columns = yaml.safe_load((data_set / "metadata.yaml").read_text())["hit_features"]
    with h5py.File(next(data_set.rglob("*.h5"))) as file:
        hits, count = torch.from_numpy(file["hits"][:]), torch.from_numpy(file["num_hits"][:]).long()
    valid = torch.arange(hits.shape[1]) < count[:, None]
    places = [(columns.index(f"{edge}X"), columns.index(f"{edge}Y")) for edge in EDGES]
    sums = [sum(hits[:, 0, pair[axis]] for pair in places).double() for axis in (0, 1)]
    angle = (math.pi - torch.atan2(sums[1], sums[0]))[:, None]
    for x, y in places:
        old_x, old_y = hits[..., x].double(), hits[..., y].double()
        hits[..., x] = (angle.cos() * old_x - angle.sin() * old_y).float()
        hits[..., y] = (angle.sin() * old_x + angle.cos() * old_y).float()
    return columns, hits, valid


def test_the_default_model_does_not_see_rounding(
    network: MaskFormer, objects: Objects, muon_events: tuple[list[str], Tensor, Tensor]
) -> None:
    columns, hits, valid = muon_events
    data = objects.datamodule
    model = DeployedModel(network, data.inputs["hit"], data.scale_factors, data.points).eval()
    hits = hits[..., [columns.index(name) for name in model.columns]]
    noise = torch.randn(hits.shape, generator=torch.Generator().manual_seed(5))
    assert largest_change(model, hits, hits * (1 + 1e-7 * noise), valid) < 1e-3


def test_the_model_with_a_fit_in_a_solenoid_does_not_see_rounding() -> None:
    """Tracks of 10 GeV along phi = pi, whose first hits have y = +-1e-6 mm."""
    objects = load("acts.yaml", {"trainer.accelerator": "cpu", "model.model.tasks.2.standardize": False})
    torch.manual_seed(3)
    network = copy.deepcopy(objects.model.model)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    network.tasks[2].response.declare(trained=True)
    data = objects.datamodule
    model = DeployedModel(network, data.inputs["hit"], data.scale_factors, data.points).eval()
    r = torch.linspace(30, 1000, 10).expand(20, 10)
    slope = torch.linspace(-3, 3, 20)[:, None]
    bent = (r.square() - 30**2) / 33_000  # mm
    values = {"x": -r, "y": bent, "z": r * slope, "volume": torch.full_like(r, 8)}
    values |= {
        "layer": torch.full_like(r, 2),
        "var_loc0": torch.full_like(r, 2e-4),
        "var_loc1": torch.full_like(r, 2e-4),
    }
    values |= {f"loc{i}_{axis}": torch.full_like(r, axis == "yz"[i]) for i in range(2) for axis in "xyz"}
    above, below = (
        torch.stack([values[name] + shift * (name == "y") for name in model.columns], dim=-1) for shift in (1e-6, -1e-6)
    )
    valid = torch.ones(20, 10, dtype=torch.bool)
    noise = torch.randn(above.shape, generator=torch.Generator().manual_seed(5))
    for changed in (below, above * (1 + 1e-7 * noise)):
        assert largest_change(model, above, changed, valid) < 1e-2  # the weights are random and large
