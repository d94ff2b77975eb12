"""Where the muon model loses resolution and charge: each step of it replaced by truth in turn.

    python tests/benchmarks/toroid_losses.py runs/muon/version_0/ckpts/best.ckpt

For events of `hitpool simulate`. The transformer of the checkpoint stays as it is; for each row the response is
trained anew on training tracks with the same replacement. All rows show the same particles of the test events, those
whose track is declared valid.

    assignment  the true hits of each track, with certainty
    seed        the azimuth in which the fit starts, and the path with which the fits to the drift circles begin, are
                those of the simulated trajectory, kinks and energy loss included
    signs       the side of each wire on which the muon passed is known, for the true hits of the track; other hits
                keep the posterior of both sides
    field       a map of the field of the simulation
    response    trained on the test tracks themselves: what its network can describe if it need not generalise; an upper
                limit of what a better trained one can reach
"""

import argparse
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from frozen_assignment import Batch, describe, estimate, frozen_batches, tracks, train_response
from torch import Tensor, nn
from toroid_fields import true_map
from true_paths import FARTHEST, Paths, key, true_paths, true_places

from hitpool.config import Objects, load_checkpoint
from hitpool.evaluation.comparison import Row, compare
from hitpool.evaluation.tracks import Tracks
from hitpool.fits import ToroidFit
from hitpool.fits.toroid import WIRE_ITERATIONS
from hitpool.fits.toroid_hits import most_probable_hits
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.training.late_training import Sample
from hitpool.training.refinement import refined_task

SEED_ERROR, SEED_SLOPE = 1e-3, 0.02  # m, and share of the height of a wire above the path


class Truth(NamedTuple):
    """What a fit is told of T tracks.

    Args:
        paths: Simulated trajectories; those of slots without a particle may be anything.
        belongs: Whether a hit is one of the track, bool [B, N, M].
    """

    paths: Paths
    belongs: Tensor


class ToldFit(ToroidFit):
    """The toroid fit with truth in place of some of its steps.

    Args:
        fit: The fit whose settings it has.
        field: Its magnetic field.
        seed: Whether it starts from the true path.
        signs: Whether it knows the sides of the wires.
    """

    def __init__(self, fit: ToroidFit, field: nn.Module, seed: bool, signs: bool) -> None:
        names = fit.inputs
        units = dict(zip(names, fit.scale.tolist(), strict=False))
        options = {"units": units, "field": field, "geometry": fit.geometry, "max_hits": fit.max_hits}
        super().__init__(tuple(names[:3]), tuple(names[3:6]), *names[6:], tube=fit.tube, **options)
        self.seed, self.signs = seed, signs
        self.truth: Truth | None = None

    def forward(self, hits: Tensor, logits: Tensor, valid: Tensor, threshold: float) -> dict[str, Tensor]:
        """Results of the tracks [B, N], as far as a response reads them."""
        ready = hits.masked_fill(~valid.unsqueeze(-1), 0)
        ready = torch.cat([ready[..., :-1] * self.scale, (ready[..., -1:] == self.tube).double()], dim=-1)
        tracks, index = most_probable_hits(ready, self.no_hit, logits, valid, threshold, self.max_hits)
        belongs = nn.functional.pad(self.truth.belongs, (0, 1)).flatten(0, 1)  # hit M is no hit
        self._places = true_places(self.truth.paths, tracks)
        self._own = belongs.gather(1, index) & tracks.tube
        result, _ = self._fit(tracks)
        return {name: value.unflatten(0, logits.shape[:2]) for name, value in result.items()}

    def _line(self, hits, weight, azimuth, dip, kappa, momentum, step):
        if self.seed and step <= WIRE_ITERATIONS:
            azimuth = self.truth.paths.vertex
        return super()._line(hits, weight, azimuth, dip, kappa, momentum, step)

    def _frame(self, hits, line, dip, momentum, before, solution):
        self._across = self._places.across(dip)
        return super()._frame(hits, line, dip, momentum, before, solution)

    def _fit_wires(self, hits, frame, residual, sharp):
        if not self.seed:
            return super()._fit_wires(hits, frame, residual, sharp)
        height = self._places.height
        near = (self._places.delta.cos() > math.cos(FARTHEST)) & (hits.probability > 0)
        error = (SEED_ERROR**2 + (SEED_SLOPE * height).square()).sqrt()
        strips = hits._replace(tube=torch.zeros_like(hits.tube), error=error)
        path = frame._replace(v=frame.v - self._places.distance() * self._across)
        return super()._fit_wires(strips, path, torch.zeros_like(height), near.double())

    def _fit_drift(self, hits, frame, residual, solution, dip, width):
        if self.signs:
            shift = torch.where(self._own, self._places.height.sign() * hits.radius * self._across, 0.0)
            hits = hits._replace(radius=torch.where(self._own, 0.0, hits.radius))  # both sides at one place
            frame, residual = frame._replace(v=frame.v - shift), residual - shift
        return super()._fit_drift(hits, frame, residual, solution, dip, width)


class Told(NamedTuple):
    """What is replaced by truth in one row."""

    name: str
    assignment: bool = False
    seed: bool = False
    signs: bool = False
    field: bool = False
    response: bool = False


ROWS = (
    Told("nothing"),
    Told("assignment", assignment=True),
    Told("seed", seed=True),
    Told("signs", signs=True),
    Told("field", field=True),
    Told("response", response=True),
    Told("assignment, signs", assignment=True, signs=True),
    Told("assignment, signs, field", assignment=True, signs=True, field=True),
    Told("assignment, signs, field, response", assignment=True, signs=True, field=True, response=True),
)


def particles(task: WeightedPoolingObjectHitRegressionTask, batch: Batch) -> list[bytes | None]:
    """Names of the muons of a batch in all its slots, None where there is none."""
    columns = [batch.targets[f"{task.target_object}_truthMuon_{name}"].flatten() for name in ("pt", "eta", "phi")]
    valid = batch.targets[f"{task.target_object}_valid"].flatten().tolist()
    rows = torch.stack(columns, dim=-1).numpy()
    return [key(values) if there else None for values, there in zip(rows, valid, strict=True)]


def truth_of(task: WeightedPoolingObjectHitRegressionTask, batch: Batch, paths: dict[bytes, Paths]) -> Truth:
    """Truth of the tracks of a batch."""
    some = next(iter(paths.values()))
    own = [some if name is None else paths[name] for name in particles(task, batch)]
    belongs = batch.targets[f"{task.target_object}_{task.input_hit}_valid"]
    return Truth(Paths(*map(torch.stack, zip(*own, strict=True))), belongs)


def table(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Lines of the table in Markdown."""
    columns = {
        "q/pT / bound": ("qpt", "to_bound"),
        "eta / bound": ("eta", "to_bound"),
        "phi / bound": ("phi", "to_bound"),
        "beyond 20 %": ("qpt", "beyond_20"),
        "charge": ("q", "accuracy"),
    }
    numbers = {(row.quantity, row.measure): row.numbers for row in rows}
    lines = [f"| replaced by truth | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return lines + [
        f"| {name} | {' | '.join(str(numbers[column][name]) for column in columns.values())} |" for name in names
    ]


def size(sample: Sample) -> int:
    """Number of tracks."""
    return len(next(iter(sample[1].values())))


def losses(objects: Objects, rows: Sequence[Told] = ROWS) -> Tracks:
    """Estimates of the test tracks for each row.

    Args:
        objects: A finished training.
        rows: What is replaced by truth.
    """
    data, network, settings = objects.datamodule, objects.model.model.eval(), objects.model.refinement
    task = refined_task(network)
    events = {split: frozen_batches(network, data.whole_dataloader(split)) for split in ("train", "val", "test")}
    paths: dict[bytes, Paths] = {}
    for split, batches in events.items():
        index = data.dataset(split).index
        paths |= true_paths(
            index.generator, len(index), {name for batch in batches for name in particles(task, batch)} - {None}
        )
    with tempfile.TemporaryDirectory() as folder:
        true_field = true_map(Path(folder), 1.0)
    own, estimates = task.track_fit, {}
    for row in rows:
        fit = task.track_fit = ToldFit(own, true_field if row.field else own.field, row.seed, row.signs)

        def tell(batch: Batch, fit: ToldFit = fit) -> None:
            fit.truth = truth_of(task, batch, paths)

        samples = {split: describe(task, batches, row.assignment, tell) for split, batches in events.items()}
        if row.response:  # as many steps
            passes = settings.epochs * size(samples["train"]) // size(samples["test"])
            train_response(task, samples["test"], samples["test"], replace(settings, epochs=passes))
        else:
            train_response(task, samples["train"], samples["val"], settings)
        estimates[row.name] = estimate(task, samples["test"])
    return tracks(task, events["test"], estimates, data.dataset("test").index.generator)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--train", type=int, default=20_000, help="number of training events, -1 for all")
    parser.add_argument("--test", type=int, default=-1, help="number of test events, -1 for all")
    arguments = parser.parse_args()
    objects = load_checkpoint(arguments.checkpoint)
    objects.datamodule.num_train, objects.datamodule.num_test = arguments.train, arguments.test
    found = losses(objects)
    print(f"{len(found)} tracks", *table(compare(found), list(found.measured)), sep="\n")


if __name__ == "__main__":
    main()
