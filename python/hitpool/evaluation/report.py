"""Callback that ends the test with a table of results, `results.json` and plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from hitpool.evaluation import plots, results
from hitpool.evaluation.assignment import match_by_hits
from hitpool.evaluation.bins import momentum_edges
from hitpool.evaluation.parameter_fields import ParameterFields, name_fields
from hitpool.evaluation.tracks import EventTracks
from hitpool.files import check_writable, data_set_name, write_text


class TestReport(Callback):
    """Collects the matched predictions of the test and reports how good they are.

    At the end of the test it prints the table of `hitpool.evaluation.results` and writes `results.json` and
    `plots/*.png` into the run directory. The trivial predictor is the mean over the training events.

    Args:
        track: Name of the predicted objects: the predictions are `<track>_valid`, `<track>_<hit>_valid`,
            `<track>_<field>`.
        particle: Name of the true objects: the targets are `<particle>_valid`, `<particle>_<hit>_valid`,
            `<particle>_<field>`.
        hit: Name of the hits.
        pt: Field of the transverse momentum in GeV; by default the target whose name ends in pt.
        eta: Field of the pseudorapidity; by default the target whose name ends in eta.
        phi: Field of the azimuth in rad; by default the target whose name ends in phi.
        charge: Field of the charge, or another one with its sign; by default the target whose name ends in q, or else
            in qpt.
        label: Words above the plots; by default the name of the data set.
    """

    __test__ = False  # not a test class of pytest

    def __init__(
        self,
        track: str = "track",
        particle: str = "particle",
        hit: str = "hit",
        pt: str | None = None,
        eta: str | None = None,
        phi: str | None = None,
        charge: str | None = None,
        label: str | None = None,
    ) -> None:
        self.track = track
        self.particle = particle
        self.hit = hit
        self.given = {"pt": pt, "eta": eta, "phi": phi, "charge": charge}
        self.label = label
        self.source = ""
        self.fields = ParameterFields()
        self.means: dict[str, float] = {}
        self.batches: list[EventTracks] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the means of the training events, so that missing ones are noticed before the test runs.

        Raises:
            TypeError: If the data module has no `train_targets`.
            ValueError: If two targets could be the same parameter.
            WriteError: If nothing can be written into the run directory.
        """
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        if trainer.is_global_zero and not trainer.fast_dev_run:
            check_writable(folder)
        datamodule = getattr(trainer, "datamodule", None)
        if not hasattr(datamodule, "train_targets"):
            raise TypeError(
                "TestReport: needs a data module with train_targets() for the trivial predictor, got "
                f"{type(datamodule).__name__}; run trainer.test with a HitDataModule or without TestReport"
            )
        targets = {name: values.numpy() for name, values in datamodule.train_targets().items()}
        self.fields = name_fields(targets, **self.given)
        self.means = results.training_means(targets, self.fields)
        self.source = self.label or data_set_name(datamodule.test_dir)
        self.batches = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: dict[str, Any],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the counts and parameters of one batch.

        Raises:
            KeyError: If a prediction or target is missing.
        """
        targets = outputs["targets"]
        preds = {name: tensor for task in outputs["preds"].values() for name, tensor in task.items()}
        valid, hit_valid = f"{self.track}_valid", f"{self.track}_{self.hit}_valid"
        if missing := [name for name in (valid, hit_valid) if name not in preds]:
            raise KeyError(f"TestReport: no predictions {missing}; the tasks predict {sorted(preds)}")
        named = (self.fields.pt, self.fields.eta, self.fields.phi, self.fields.charge)
        regressed = [field for field in named if f"{self.track}_{field}" in preds]
        self.batches.append(
            EventTracks.from_masks(
                event=_numpy(targets["sample_id"]),
                particle_valid=_numpy(targets[f"{self.particle}_valid"]),
                track_valid=_numpy(preds[valid]),
                particle_hit_valid=_numpy(targets[f"{self.particle}_{self.hit}_valid"]),
                track_hit_valid=_numpy(preds[hit_valid]),
                hit_valid=_numpy(targets[f"{self.hit}_valid"]),
                true={field: _numpy(targets[f"{self.particle}_{field}"]) for field in regressed},
                predicted={field: _numpy(preds[f"{self.track}_{field}"]) for field in regressed},
            )
        )

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the table and writes the files."""
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # log_dir is a collective call
        batches = _from_all_ranks(self.batches, trainer.world_size)
        self.batches = []
        if not trainer.is_global_zero:
            return
        tracks = EventTracks.concatenate(batches)
        rows = results.evaluate(tracks, self.means, self.fields)
        console = Console()
        console.print(results.table(rows, tracks))
        if trainer.fast_dev_run:
            return
        plotted = save_plots(tracks, self.means, self.fields, folder / "plots", self.source)
        written = [folder / "results.json", *plotted]
        write_text(written[0], json.dumps(results.as_json(rows, tracks), indent=2, allow_nan=False) + "\n")
        names = ", ".join(str(path.relative_to(folder)) for path in written)
        console.print(f"written to {folder}: {names}", highlight=False, markup=False, soft_wrap=True)


def save_plots(
    tracks: EventTracks, means: dict[str, float], fields: ParameterFields, folder: Path, source: str
) -> list[Path]:
    """Draws the residuals of pT, eta and phi and the efficiency against pT.

    Args:
        tracks: Test tracks, matched to the particles slot by slot.
        means: Constants of the trivial predictor by field.
        fields: Names of the parameters.
        folder: Where the PNG files go.
        source: Words above the axes, where the tracks come from.

    Returns:
        The files: `residual_<parameter>.png` for what is predicted, `efficiency_pt.png` if pT is.
    """
    match = results.match_by_slot(tracks)
    trivial = results.parameter_residuals(results.with_constants(tracks, means), match, fields)
    labels = {
        "pt": (r"($p_\mathrm{T}$ $-$ true) / true", source),
        "eta": (r"$\eta$ $-$ true", source),
        "phi": (r"$\phi$ $-$ true", source, "rad"),
    }
    written = [
        plots.save(plots.plot_residuals(values, trivial[name], *labels[name]), folder / f"residual_{name}.png")
        for name, values in results.parameter_residuals(tracks, match, fields).items()
    ]
    particles = tracks.particle_valid
    if fields.pt in tracks.true and particles.any():
        found = {
            "matched track declared valid": match[particles] >= 0,
            "found by hits (> 50 % shared)": match_by_hits(tracks)[particles] >= 0,
        }
        pt = tracks.true[fields.pt][particles]
        figure = plots.plot_efficiency(pt, found, source, momentum_edges(pt))
        written.append(plots.save(figure, folder / "efficiency_pt.png"))
    return written


def _numpy(tensor: Tensor) -> NDArray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _from_all_ranks(batches: list[EventTracks], world_size: int) -> list[EventTracks]:
    """Batches of all processes, in all of them."""
    if world_size == 1:
        return batches
    gathered: list[list[EventTracks]] = [[] for _ in range(world_size)]
    torch.distributed.all_gather_object(gathered, batches)
    return [batch for rank in gathered for batch in rank]
