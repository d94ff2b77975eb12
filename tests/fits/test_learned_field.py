"""The learned field: its start, its gradient, and that it finds a known distortion."""

import copy
import math
import re
from functools import partial

import numpy as np
import pytest
import torch

from hitpool.config import load
from hitpool.fits import BoxToroid, FieldMap, LearnedField, ToroidFit
from hitpool.simulation import simulate, toroid_field
from hitpool.training import field_refinement
from hitpool.training.field_refinement import field_loss
from hitpool.training.late_training import Refinement, train_part
from hitpool.training.refinement import refine

from .test_field import points, write_map


@pytest.fixture
def start(tmp_path):
    """A map that is not mirrored and changes along all axes."""
    grids = np.linspace(0, 12, 25), np.linspace(-15, 15, 31), np.arange(5) * math.pi / 20
    file = write_map(tmp_path / "map.npz", lambda r, z, phi: (2 + r / 12 + z / 15) * (2 + np.cos(8 * phi)) / 9, *grids)
    return FieldMap(file, mirrored=False)


def test_untrained_it_is_the_field_where_it_starts(start):
    places = points(3000)
    assert torch.equal(LearnedField(start)(*places), start(*places))
    boxes = BoxToroid()(*places)
    found = LearnedField()(*places)
    assert (found - boxes).abs().max() < 0.05 * boxes.max()  # the table has steps of 0.2 m
    assert (found - boxes).abs().mean() < 0.005 * boxes.mean()
    assert torch.equal(LearnedField(BoxToroid())(*places), found)


def test_the_factor_is_linear_between_the_knots(start):
    field = LearnedField(start, knots=(5, 4, 5)).double()
    factors = torch.randn(5, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        field.log_factors.copy_(factors)
        change = (field.values / start.values).log()
    torch.testing.assert_close(change[::6, ::10, :-1], factors)
    torch.testing.assert_close(change[6, 10, -1], factors[1, 1, 0])
    torch.testing.assert_close(change[9, 10], (change[6, 10] + change[12, 10]) / 2)
    torch.testing.assert_close(change[6, 5], (change[6, 0] + change[6, 10]) / 2)


@pytest.mark.parametrize("knots", [(2, 2, 1), (4, 5, 2), (3, 3, 7)])
def test_equal_factors_scale_the_field(start, knots):
    for field in (LearnedField(start, knots), LearnedField(knots=knots)):
        places = points(100)
        before = field(*places)
        with torch.no_grad():
            field.log_factors.fill_(-0.1)
        torch.testing.assert_close(field(*places), math.exp(-0.1) * before)


def test_it_has_the_periods_and_the_mirror_of_the_start(start):
    r, z, phi = points(500)
    for field, mirrored in ((LearnedField(start), False), (LearnedField(periods=6), True)):
        with torch.no_grad():
            field.log_factors.normal_()
        value = field(r, z, phi)
        torch.testing.assert_close(field(r, z, phi + field.period), value)
        assert torch.allclose(field(r, -z, phi), value) == mirrored


def test_gradients_are_those_of_finite_differences(start):
    field = LearnedField(start, knots=(3, 3, 2)).double()
    places = points(20)

    def run(factors):
        return torch.func.functional_call(field, {"log_factors": factors}, tuple(places))

    assert torch.autograd.gradcheck(run, torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True))


def test_gradients_through_the_fit_are_those_of_finite_differences(muons):
    fit = ToroidFit(field=LearnedField(knots=(3, 3, 2))).double()
    direction, step = torch.randn_like(fit.field.log_factors), 1e-4

    def run(factors):
        arguments = muons.hits[:20], muons.logits[:20], muons.valid[:20]
        return torch.func.functional_call(fit, {"field.log_factors": factors}, arguments)["kappa"][muons.there[:20]]

    zero = torch.zeros_like(direction).requires_grad_()
    kappa = run(zero)
    found = torch.stack([(torch.autograd.grad(k, zero, retain_graph=True)[0] * direction).sum() for k in kappa])
    with torch.no_grad():
        expected = (run(step * direction) - run(-step * direction)) / (2 * step)
    assert ((found - expected).abs() / expected.abs()).median() < 1e-3


def test_weights_are_saved_and_nothing_else(start):
    field, other = LearnedField(start), LearnedField(start)
    with torch.no_grad():
        field.log_factors.normal_()
    assert list(field.state_dict()) == ["log_factors"]
    other.load_state_dict(field.state_dict())
    places = points(100)
    assert torch.equal(other(*places), field(*places))
    assert torch.equal(copy.deepcopy(field)(*places), field(*places))
    assert not other.log_factors.requires_grad


@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")  # which `hitpool export` refuses
def test_traced_and_compiled_forms_agree_at_other_sizes():
    field = LearnedField()
    with torch.no_grad():
        field.log_factors.normal_(std=0.1)
    traced = torch.jit.trace(field, tuple(points(10)))
    compiled = torch.compile(field, fullgraph=True, dynamic=True, backend="eager")
    for size in (10, 300):
        places = points(size)
        for form in (traced, compiled):
            torch.testing.assert_close(form(*places), field(*places))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"knots": (1, 5, 5)}, r"knots must be at least 2 in r, 2 in z and 1 in phi, got \(1, 5, 5\)"),
        ({"knots": (5, 5)}, "knots must be"),
        ({"periods": 0}, "periods must be at least 1, got 0"),
        ({"start": LearnedField()}, "start must be a BoxToroid or a FieldMap, got LearnedField"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=f"LearnedField: {message}"):
        LearnedField(**options)


def test_a_known_distortion_is_found(muons, tmp_path):
    """The barrel of the start field is 10 % too weak, and the rest is right."""
    grids = np.linspace(0.3, 12, 60), np.linspace(0, 20, 101), np.arange(8) * math.pi / 32

    def weak(r, z, phi):
        return toroid_field(r * np.cos(phi), r * np.sin(phi), z) * np.where(r > 5.2, 0.9, 1.0)

    fit = ToroidFit(field=LearnedField(FieldMap(write_map(tmp_path / "map.npz", weak, *grids)), knots=(5, 5, 1)))
    event, track = muons.there.nonzero(as_tuple=True)
    sample = (
        {"hits": muons.hits[event], "logits": muons.logits[event, track].unsqueeze(1)},
        {"qpt": muons.truth["qpt"][event, track]},
    )
    settings = Refinement(epochs=5, batch_size=40, learning_rate=0.05, weight_decay=0.0)
    _, before, after = train_part(fit.field, partial(field_loss, fit, 4000), sample, sample, settings, 40, 0, None)
    assert after < 0.5 * before
    phi = torch.linspace(0, math.pi, 60, dtype=torch.float64)
    for r, z in ((7.5, 4.0), (3.5, 10.0)):
        true = torch.from_numpy(toroid_field(r * phi.cos().numpy(), r * phi.sin().numpy(), np.full(60, z)))
        found = fit.field(torch.full_like(phi, r), torch.full_like(phi, z), phi)
        assert (found / true).mean().item() == pytest.approx(1.0, abs=0.03)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """`muon.yaml` with a learned field, on events whose hits the new network takes all alike."""
    folder = tmp_path_factory.mktemp("data")
    folders = {}
    for split, part in enumerate(("train", "val")):
        simulate(folder / part, 60, spectrum="fixed", pt=20.0, background="clean", split=split, processes=1)
        folders[f"data.{part}_dir"] = str(folder / part)
    field = {"class_path": "hitpool.fits.LearnedField", "init_args": {"knots": [3, 3, 2]}}
    task = {"model.model.tasks.2.track_fit.field": field, "model.model.tasks.2.standardize": False}
    options = {"data.test_dir": folders["data.val_dir"], "trainer.accelerator": "cpu"}
    return load("muon.yaml", task | options | folders)


def second_phase(objects):
    network = copy.deepcopy(objects.model.model)
    batches = (objects.datamodule.whole_dataloader(part) for part in ("train", "val"))
    report = refine(network, *batches, Refinement(epochs=1, batch_size=50), seed=0)
    return network.tasks[2], report


def test_the_second_phase_trains_it_and_repeats_bitwise(objects, monkeypatch):
    monkeypatch.setattr(field_refinement, "STEPS", 5)
    (task, report), (again, _) = (second_phase(objects) for _ in range(2))
    numbers = r"second phase: field: \d+ tracks, \d+ steps, validation loss (\S+) -> (\S+); "
    before, after = map(float, re.match(numbers, report).groups())
    assert after < before
    assert task.track_fit.field.log_factors.abs().max() > 0.01
    assert not task.track_fit.field.log_factors.requires_grad
    for name, value in task.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_field_that_got_worse_is_not_used(objects, monkeypatch):
    monkeypatch.setattr(field_refinement, "STEPS", 2)
    monkeypatch.setattr(field_refinement, "LEARNING_RATE", 1e3)
    task, report = second_phase(objects)
    assert report.startswith("second phase: the field stays, because its validation loss went from ")
    assert (task.track_fit.field.log_factors == 0).all()
