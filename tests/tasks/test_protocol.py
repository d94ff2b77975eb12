"""What networks, trainings and tasks ask of each other is what the classes have."""

import inspect

import pytest
from torch import nn

from hitpool.fits import HelixFit, SolenoidFit, ToroidFit, TrackFit
from hitpool.nn.task import Task as TaskProtocol
from hitpool.tasks import (
    ObjectHitMaskTask,
    ObjectRegressionTask,
    ObjectSeedTask,
    ObjectValidTask,
    WeightedPoolingObjectHitRegressionTask,
)

FITS = {"helix": lambda: HelixFit(["z"], 2.0), "solenoid": lambda: SolenoidFit(2.0), "toroid": ToroidFit}
TASKS = [
    ObjectHitMaskTask,
    ObjectRegressionTask,
    ObjectSeedTask,
    ObjectValidTask,
    WeightedPoolingObjectHitRegressionTask,
]


@pytest.mark.parametrize("name", FITS)
def test_fits_are_track_fits(name: str) -> None:
    fit = FITS[name]()
    assert isinstance(fit, TrackFit)
    assert isinstance(fit, nn.Module)
    assert {"eta", "phi", "qpt"} <= set(fit.gives)
    assert inspect.signature(fit.forward) == inspect.signature(HelixFit(["z"], 2.0).forward)


@pytest.mark.parametrize("kind", TASKS)
def test_tasks_have_what_a_network_asks_for(kind: type) -> None:
    asked = {name for name in vars(TaskProtocol) if not name.startswith("_")}
    assert asked - set(dir(kind)) <= {"required_outputs"}  # an attribute of objects
