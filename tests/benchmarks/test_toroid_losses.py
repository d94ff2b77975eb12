"""A small form of toroid_losses.py, on a model with random weights."""

import frozen_assignment
import numpy as np
import pytest
import torch
import toroid_losses
import true_paths

from hitpool.config import Objects, load
from hitpool.evaluation.comparison import compare
from hitpool.evaluation.quantities import RESOLUTIONS
from hitpool.evaluation.tracks import Estimate
from hitpool.fits.toroid import DRIFT_WIDTHS
from hitpool.fits.toroid_hits import most_probable_hits
from hitpool.nn.fields import stack_fields
from hitpool.simulation import simulate
from hitpool.training.refinement import refined_task

EVENTS = 60


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    folder = tmp_path_factory.mktemp("run")
    simulate(folder / "events", EVENTS, processes=1)
    overrides = {f"data.{split}_dir": str(folder / "events") for split in ("train", "val", "test")}
    objects = load("muon.yaml", overrides | {"runs": str(folder / "runs"), "data.batch_size": EVENTS})
    task = refined_task(objects.model.model)
    task.fit_standardization(objects.datamodule.train_targets())
    for response in (task.response, task.hit_response):
        response.declare(trained=True)
    return objects


@pytest.fixture(scope="module")
def batch(objects: Objects) -> frozen_assignment.Batch:
    (batch,) = frozen_assignment.frozen_batches(objects.model.model.eval(), objects.datamodule.whole_dataloader("test"))
    return batch


@pytest.fixture(scope="module")
def paths(objects: Objects, batch: frozen_assignment.Batch) -> dict[bytes, true_paths.Paths]:
    index = objects.datamodule.dataset("test").index
    names = set(toroid_losses.particles(refined_task(objects.model.model), batch)) - {None}
    return true_paths.true_paths(index.generator, len(index), names)


class Watched(toroid_losses.ToldFit):
    """Keeps how far the fits to the drift circles begin from the true path, in m, for the tubes of each track."""

    def _fit_drift(self, hits, frame, residual, solution, dip, width):
        if width == DRIFT_WIDTHS[0]:
            self.started = (residual - self._places.distance() * self._across)[self._own]
        return super()._fit_drift(hits, frame, residual, solution, dip, width)


def fitted(objects, batch, paths, seed: bool, signs: bool, field=None) -> tuple[Watched, dict[str, torch.Tensor]]:
    task = refined_task(objects.model.model)
    fit = Watched(task.track_fit, field or task.track_fit.field, seed, signs)
    fit.truth = toroid_losses.truth_of(task, batch, paths)
    hits = stack_fields(batch.x["inputs"], task.input_hit, fit.inputs)
    logits = frozen_assignment.true_logits(task, batch)
    valid = batch.targets["particle_valid"]
    result = fit(hits, logits, batch.x["hit_valid"], task.assignment_threshold)
    return fit, {name: value[valid] for name, value in result.items()}


def test_a_finished_model_loses_its_responses(objects, batch):
    task = refined_task(objects.model.model)
    assert not task.response.ready
    assert not task.hit_response.ready


def test_distances_from_the_true_paths_are_the_drift_radii(objects, batch, paths):
    task = refined_task(objects.model.model)
    fit, logits = task.track_fit, frozen_assignment.true_logits(task, batch)
    hits = stack_fields(batch.x["inputs"], task.input_hit, fit.inputs)
    ready = torch.cat([hits[..., :-1] * fit.scale, (hits[..., -1:] == fit.tube).double()], dim=-1)
    tracks, _ = most_probable_hits(ready, fit.no_hit, logits, batch.x["hit_valid"], 0.1, fit.max_hits)
    places = true_paths.true_places(toroid_losses.truth_of(task, batch, paths).paths, tracks)
    pull = ((places.distance().abs() - tracks.radius) / tracks.error)[tracks.tube & (tracks.probability > 0)]
    assert len(pull) > 10 * EVENTS
    assert (pull.abs() < 4).double().mean() > 0.93  # 4 % have delta electrons
    assert 0.6 < pull.abs().median() < 0.8  # 0.67 of a Gaussian


def test_paths_of_another_data_set_are_refused(objects, paths):
    generator = objects.datamodule.dataset("test").index.generator
    with pytest.raises(ValueError, match="are not there"):
        true_paths.true_paths(generator | {"seed": 2}, EVENTS, set(paths))
    with pytest.raises(ValueError, match="generator version"):
        true_paths.true_paths(generator | {"version": 0}, EVENTS, set(paths))


def test_without_truth_it_is_the_fit_of_the_model(objects, batch, paths):
    _, result = fitted(objects, batch, paths, seed=False, signs=False)
    task = refined_task(objects.model.model)
    logits = frozen_assignment.true_logits(task, batch).requires_grad_()  # for the fit in PyTorch
    expected = task.fit_tracks(batch.x, logits)
    for name, value in result.items():
        torch.testing.assert_close(value, expected[name][batch.targets["particle_valid"]].detach(), msg=name)


def test_the_seed_is_the_true_path(objects, batch, paths):
    plain, without = fitted(objects, batch, paths, seed=False, signs=False)
    told, with_seed = fitted(objects, batch, paths, seed=True, signs=False)
    assert plain.started.abs().median() > 1e-3
    assert told.started.abs().median() < 2e-4
    assert not torch.equal(without["kappa"], with_seed["kappa"])


def test_with_known_sides_the_fit_is_better(objects, batch, paths, tmp_path):
    field = toroid_losses.true_map(tmp_path, 1.0)
    true = batch.targets["particle_truthMuon_qpt"][batch.targets["particle_valid"]].double()
    error = {
        signs: (fitted(objects, batch, paths, seed=False, signs=signs, field=field)[1]["qpt"] / true - 1).abs()
        for signs in (False, True)
    }
    assert not torch.equal(error[False], error[True])
    assert (error[True] < 0.2).double().mean() > 0.95
    assert error[True].quantile(0.68) < 0.04


def test_the_table_has_all_rows(objects, monkeypatch):
    def bound(_, tracks):  # the table of the bound takes some seconds
        return Estimate(tracks.particle, errors={name: np.full(tracks.particle.shape, 0.02) for name in RESOLUTIONS})

    monkeypatch.setattr(frozen_assignment, "bound_of_data_set", bound)
    rows = toroid_losses.ROWS[1], toroid_losses.ROWS[-1]
    found = toroid_losses.losses(objects, rows)
    lines = toroid_losses.table(compare(found), [row.name for row in rows])
    assert len(lines) == 4
    assert all(line.count("|") == 7 and "nan" not in line for line in lines)
    assert lines[-1].startswith("| assignment, signs, field, response |")
