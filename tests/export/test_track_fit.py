"""A network with a track fit is exported like any other."""

import copy

import pytest
import torch
from torch import Tensor

from hitpool.config import load as load_configuration
from hitpool.export import DeployedModel, load, write_model
from hitpool.export.arrays import Run


def straight_tracks(events: int, hits: int) -> tuple[Tensor, Tensor]:
    """Hits in mm on lines from the beam line, three to an event; half of the events have padded hits, with NaN."""
    generator = torch.Generator().manual_seed(events)
    phi, slope = torch.randn(2, events, 3, generator=generator)
    track = torch.arange(hits) % 3  # [M]
    r = torch.linspace(30, 1000, hits)
    x, y, z = r * phi[:, track].cos(), r * phi[:, track].sin(), r * slope[:, track]  # [B, M]
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    around, beam = (-y / r, x / r, zero), (zero, zero, one)  # modules of a barrel
    columns = [x, y, z, 8 * one, 2 * one, *around, *beam, 2e-4 * one, 2e-4 * one]
    values = torch.stack(columns, dim=-1)  # [B, M, 13]
    valid = (torch.arange(hits) < hits // 2) | (torch.arange(events) % 2 == 0)[:, None]
    return torch.where(valid.unsqueeze(-1), values, torch.nan), valid


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[DeployedModel, Run]:
    """A model with a fit, and what was exported of it."""
    path = tmp_path_factory.mktemp("export") / "model.pt"
    objects = load_configuration("acts.yaml", {"trainer.accelerator": "cpu", "model.model.tasks.2.standardize": False})
    network, data = copy.deepcopy(objects.model.model).eval(), objects.datamodule
    network.tasks[2].response.declare(trained=True)
    eager = DeployedModel(network, data.inputs["hit"], data.scale_factors, data.points).eval()
    write_model(eager, path)
    return eager, load(path)[0]


@pytest.mark.parametrize(("events", "count"), [(1, 1), (4, 30), (3, 0), (7, 75)])
def test_the_exported_model_gives_the_same_as_eager(models: tuple[DeployedModel, Run], events: int, count: int) -> None:
    eager, exported = models
    axes = [f"loc{i}_{axis}" for i in range(2) for axis in "xyz"]
    names = ["x", "y", "z", "volume", "layer", *axes, "var_loc0", "var_loc1"]
    order = [eager.columns.index(name) for name in names]
    hits, valid = straight_tracks(events, count)
    inputs = hits[..., torch.tensor(order).argsort()], valid
    with torch.no_grad():
        for got, expected in zip(exported(*inputs), eager(*inputs), strict=True):
            assert got.isfinite().all()
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
