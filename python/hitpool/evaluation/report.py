"""Callback that ends the test with a table of results, `results.json`, `resolution.json`, plots and a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from hitpool.evaluation.collector import Collector
from hitpool.evaluation.fields import all_fields, regressions
from hitpool.evaluation.figures import draw_all
from hitpool.evaluation.in_bins import measure_in_bins
from hitpool.evaluation.page import write_page
from hitpool.evaluation.resolution_file import NAME, write_resolution
from hitpool.evaluation.results import as_json, measure, results_table, training_means, with_trivial
from hitpool.evaluation.tracks import MODEL, Tracks
from hitpool.files import check_writable, data_set_name, write_text
from hitpool.training.module import TrackingModule


class TestReport(Collector):
    """Collects the matched predictions of the test and reports how good they are.

    At the end of the test it prints the table and writes `results.json`, `resolution.json` with the measures in bins,
    `index.html`, and `plots/*.png` and `*.pdf` into the run directory. The trivial predictor is the mean over the
    training events. All targets are reported.

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
            in qpt, or else the only one that is learned as a sign.
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
        super().__init__(track, particle, hit, {})
        self.given = {"pt": pt, "eta": eta, "phi": phi, "q": charge}
        self.label = label
        self.source = ""
        self.draws = True
        self.run: Path | None = None  # of the training, if it is another folder than that of the test
        self.table: Table | None = None
        self.means: dict[str, float] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the means of the training events, so that missing ones are noticed before the test runs.

        Raises:
            TypeError: If the data module has no `train_targets`.
            ValueError: If two targets could be the same parameter.
            WriteError: If nothing can be written into the run directory.
        """
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            check_writable(folder)
        datamodule: Any = getattr(trainer, "datamodule", None)
        if not hasattr(datamodule, "train_targets"):
            raise TypeError(
                "TestReport: needs a data module with train_targets() for the trivial predictor, got "
                f"{type(datamodule).__name__}; run trainer.test with a HitDataModule or without TestReport"
            )
        targets = {name: values.numpy() for name, values in datamodule.train_targets().items()}
        network = cast(TrackingModule, pl_module).model
        self.fields = all_fields(targets, regressions(network), self.given)
        self.means = training_means(
            {quantity: targets[field] for quantity, field in self.fields.items() if field in targets}
        )
        self.describe(network, datamodule)
        self.source = self.label or data_set_name(datamodule.test_dir)
        self.batches = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keeps one batch.

        Raises:
            KeyError: If a prediction or target is missing.
        """
        predicted = {name for task in outputs["preds"].values() for name in task}
        needed = [f"{self.track}_valid", f"{self.track}_{self.hit}_valid"]
        if missing := [name for name in needed if name not in predicted]:
            raise KeyError(f"TestReport: no predictions {missing}; the tasks predict {sorted(predicted)}")
        super().on_test_batch_end(trainer, pl_module, outputs, *args, **kwargs)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the table and writes the files."""
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # log_dir is a collective call
        batches = _from_all_ranks(self.batches, trainer.world_size)
        self.batches = []
        if not trainer.is_global_zero:
            return
        tracks = Tracks.concatenate(batches)
        listed = with_trivial(tracks.only([MODEL], without="qpt" if "pt" in tracks.true else ""), self.means)
        results = measure(listed)
        self.table = results_table(results, listed)
        console = Console()
        console.print(self.table)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        write_text(folder / "results.json", json.dumps(as_json(results, listed), indent=2, allow_nan=False) + "\n")
        written = ["results.json"]
        if self.draws:
            console.print("drawing", highlight=False)
            whole = tracks.completed()
            bins = measure_in_bins(whole)
            write_resolution(folder, whole, bins)
            run = self.run or folder
            drawn = draw_all(listed, bins, folder / "plots", run / "metrics.csv", self.source)
            config = run / "config.yaml"
            settings = config.read_text(encoding="utf-8") if config.is_file() else None
            write_page(folder / "index.html", f"Test of {folder}", self.source, [self.table], drawn, settings)
            written += [NAME, "index.html", f"plots ({sum(map(len, drawn.values()))}, as PNG and PDF)"]
        console.print(f"written to {folder}: {', '.join(written)}", highlight=False, markup=False, soft_wrap=True)


def _from_all_ranks(batches: list[Tracks], world_size: int) -> list[Tracks]:
    """Batches of all processes, in all of them."""
    if world_size == 1:
        return batches
    gathered: list[list[Tracks]] = [[] for _ in range(world_size)]
    torch.distributed.all_gather_object(gathered, batches)
    return [batch for rank in gathered for batch in rank]
