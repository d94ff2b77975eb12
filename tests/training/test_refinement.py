"""The second phase of a training: what it changes, what it leaves, and that it repeats."""

from dataclasses import replace
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch

from hitpool.fits import FitResponse, HelixFit, SolenoidFit, ToroidFit
from hitpool.nn import MaskFormer
from hitpool.training import TrackingModule
from hitpool.training.checkpoints import AtomicCheckpointIO
from hitpool.training.late_training import Refinement
from hitpool.training.refinement import describe, refine, refined_task, second_phase
from hitpool.training.threads import Threads

from .tracking import Events, make_network, make_regression

SETTINGS = Refinement(epochs=30, batch_size=8)


def network(**options: object) -> MaskFormer:
    return make_network(1, make_regression(**options))


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def run(model: MaskFormer, settings: Refinement = SETTINGS) -> str:
    events = Events()
    return refine(model, events.train_dataloader(), events.val_dataloader(), settings, seed=3)


def clear(targets: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(value) for name, value in targets.items()}


def test_only_the_head_changes_and_its_loss_falls():
    model = network()
    before = weights(model)
    report = run(model)
    changed = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert changed
    assert all(".regression_head." in name for name in changed)
    first, last = map(float, report.rsplit("validation loss ", 1)[1].split(" -> "))
    assert last < 0.9 * first
    assert report.startswith("second phase: 20 tracks described")
    assert "75 steps" in report
    assert model.training


def test_the_late_loss_is_the_loss_of_the_task():
    model = network().eval()
    task = refined_task(model)
    inputs, targets = Events().batches[0]
    kept, true = describe(model, [(inputs, targets)], torch.device("cpu"), None)
    outputs = model.match(model(inputs), targets)["final"]["parameter_regression"]
    torch.testing.assert_close(task.late_loss(kept, true), task.loss(outputs, targets)["smooth_l1"])
    assert not any("late" in name for name in outputs)


def test_equal_seeds_give_equal_weights():
    options = {"dropout": 0.5, "regression_num_layers": 2}
    one, two = network(**options), network(**options)
    for model in (one, two):
        torch.manual_seed(torch.seed() % 1000)
        run(model)
    for name, value in weights(one).items():
        assert torch.equal(weights(two)[name], value), name


def test_what_makes_it_worse_is_not_used():
    model = network()
    before = weights(model)
    report = run(model, Refinement(epochs=30, batch_size=8, learning_rate=1e9))
    assert "not used, because the validation loss went from" in report
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())


@pytest.mark.parametrize("part", ["training", "validation"])
def test_without_a_true_particle_it_is_left_out(part):
    model = network()
    before = weights(model)
    full, empty = Events().batches, [(inputs, clear(targets)) for inputs, targets in Events().batches]
    batches = (empty, full) if part == "training" else (full, empty)
    report = refine(model, *batches, SETTINGS, seed=3)
    assert report == f"second phase: left out, because there is no true particle in the {part} events"
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    assert model.training


def test_a_network_without_a_part_for_it_is_refused():
    model = network(track_fit=HelixFit(["z"], field=2.0))
    with pytest.raises(ValueError, match=r"expected one WeightedPooling.*got 0 in \['track_valid', "):
        run(model)


def test_a_response_needs_a_fit_that_tells_its_quality():
    fields = ["mu_eta", "mu_phi", "mu_qpt"]
    options = {"fields": fields, "inverse_fields": [], "response": FitResponse()}
    with pytest.raises(ValueError, match="which HelixFit does not give; take ToroidFit"):
        make_regression(track_fit=HelixFit(["z"], field=2.0), **options)
    with pytest.raises(
        ValueError, match=r"reads \['direction', 'kappa', 'kappa_error'\] .* which SolenoidFit does not"
    ):
        make_regression(track_fit=SolenoidFit(field=2.0), **options)
    with pytest.raises(
        ValueError, match=r"reads \['qpt_error', 'phi_error'\] of the track fit, which ToroidFit does not"
    ):
        make_regression(track_fit=ToroidFit(), **options | {"response": FitResponse(fit_errors=True)})
    with pytest.raises(ValueError, match="which NoneType does not give"):
        make_regression(**options)
    with pytest.raises(ValueError, match="errors of its own, and loss: gaussian does too"):
        make_regression(track_fit=ToroidFit(), **options | {"loss": "gaussian"})
    with pytest.raises(ValueError, match="the results of ToroidFit need a response"):
        make_regression(track_fit=ToroidFit())
    with pytest.raises(ValueError, match="the results of SolenoidFit need a response"):
        make_regression(track_fit=SolenoidFit(field=2.0))
    with pytest.raises(ValueError, match=r"expected one field each .* \['qpt'\] not once"):
        make_regression(**options | {"fields": fields[:2]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "refinement.epochs must not be negative, got -1"),
        ({"batch_size": 0}, "refinement.batch_size must be at least 1, got 0"),
        ({"max_events": 0}, "refinement.max_events must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Refinement(**options)


@pytest.mark.parametrize(
    ("max_events", "limit", "expected"), [(None, None, None), (None, 3, 3), (9, None, 3), (9, 2, 2), (8, 5, 2)]
)
def test_max_events_limits_the_training_batches(monkeypatch, max_events, limit, expected):
    given = []
    monkeypatch.setattr("hitpool.training.module.refine", lambda *arguments: given.append(arguments) or "")
    model = TrackingModule("test", network(), refinement=replace(SETTINGS, max_events=max_events))
    data = SimpleNamespace(batch_size=4, whole_dataloader=lambda part: part)
    model.refine(data, 7, limit)
    assert given[0][1:3] == ("train", "val")
    assert given[0][4:6] == (7, expected)


@pytest.mark.parametrize(("number", "expected"), [(None, 1), (2, 2)])
def test_it_has_one_thread_unless_the_number_is_fixed(monkeypatch, number, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("hitpool.training.threads.available_cores", lambda: 2)
    used = []
    model = TrackingModule("test", network(), refinement=SETTINGS)
    monkeypatch.setattr(model, "refine", lambda *_: used.append(torch.get_num_threads()) or "")
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[Threads(number)])
    before = torch.get_num_threads()
    try:
        trainer.callbacks[0].setup(trainer, model, "fit")
        torch.set_num_threads(2)
        second_phase(trainer, model, Events(), None, AtomicCheckpointIO(), seed=0, bars=False)
    finally:
        torch.set_num_threads(before)
    assert used == [expected]
