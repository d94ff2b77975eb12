"""The `evaluate` command: a trained model on a data set, alone or beside another estimate of the same tracks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from hitpool.config import Objects, load_checkpoint
from hitpool.data.layout import data_set_name
from hitpool.evaluation import comparison
from hitpool.evaluation.comparison_plots import plot_resolution
from hitpool.evaluation.plots import save
from hitpool.evaluation.quantities import RESOLUTIONS, complete, derivable, fields_by_quantity
from hitpool.evaluation.reference import read_reference
from hitpool.evaluation.report import TestReport
from hitpool.evaluation.true_assignment import TrueAssignment
from hitpool.files import check_writable, write_text
from hitpool.training.progress import progress_bar
from hitpool.training.threads import Threads


def evaluate(
    checkpoint: Path,
    data: Path | None = None,
    reference: str | None = None,
    output: Path | None = None,
    label: str | None = None,
    threads: PositiveInt | None = None,
) -> None:
    """Measure a trained model on a data set, alone or against another estimate of the same tracks.

    Without a reference it prints the table of the test. With one, it compares q/pT, pT, eta, phi and charge of
    the model with the track columns <reference>pt, <reference>eta, <reference>phi, <reference>q, as far as
    they exist, on the same tracks. The model is compared as it is, and with the true hits of each track.

    Args:
        checkpoint: Checkpoint in the folder `ckpts` of a run directory.
        data: Folder of the data set; by default the test data of the training.
        reference: What the names of the reference's track columns start with, such as kalman_.
        output: Folder for tables and plots; by default `evaluation` in the run directory.
        label: Words above the plots; by default those of the configuration with its test data, else the name of the
            data set.
        threads: Threads on CPU; by default it tries now and then which number is fastest.

    Raises:
        FileNotFoundError: If the checkpoint, its configuration or the data do not exist.
        ValueError: If the data have no such reference, or nothing can be compared.
    """
    objects = load_checkpoint(checkpoint)
    if data is not None:
        objects.datamodule.test_dir, objects.datamodule.num_test = data, -1
    output = output or Path(checkpoint).absolute().parent.parent / "evaluation"
    report = _report(objects)
    report.label = label or (report.label if data is None else None)
    if reference is None:
        _run(objects, report, output, threads)
        return
    estimates = read_reference(objects.datamodule.dataset("test"), reference)
    collector = Collector(objects.model.model)
    if not derivable(estimates) & derivable(collector.fields):
        raise ValueError(
            f"nothing to compare: the model has {sorted(collector.fields)}, {reference} {sorted(estimates)}"
        )
    _run(objects, collector, output, threads)
    pairs, counts = collector.pairs(estimates, reference.rstrip("_"))
    if not len(pairs):
        raise ValueError(f"nothing to compare: {comparison.title(counts)}")
    _write(pairs, counts, output, report.label or data_set_name(objects.datamodule.test_dir))


def _run(objects: Objects, callback: Callback, output: Path, threads: int | None) -> None:
    check_writable(output)
    trainer = Trainer(
        devices=1,
        precision=objects.config["trainer"].get("precision"),
        callbacks=[callback, progress_bar(), Threads(threads)],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=output,
    )
    trainer.test(objects.model, objects.datamodule, verbose=False)


def _report(objects: Objects) -> TestReport:
    """The report that the configuration asks for, or one with the names of the model."""
    own = [callback for callback in objects.trainer.callbacks if isinstance(callback, TestReport)]
    network = objects.model.model
    return own[0] if own else TestReport(_regression(network).output_object, network.target_object, network.input_name)


def _regression(network: torch.nn.Module) -> torch.nn.Module:
    """The task whose fields are the track parameters.

    Raises:
        ValueError: If there is none.
    """
    for task in network.tasks:
        if fields_by_quantity(getattr(task, "fields", [])):
            return task
    names = {task.name: list(getattr(task, "fields", [])) for task in network.tasks}
    raise ValueError(f"no task of the model regresses pt, eta, phi, q or qpt; their fields are {names}")


class Collector(Callback):
    """Collects the true and predicted parameters of the test, in the slots of the particles.

    Args:
        network: Model of the `hitpool.nn.MaskFormer` interface.

    Raises:
        ValueError: If the model regresses no track parameter.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        task = _regression(network)
        self.fields = fields_by_quantity(task.fields)
        self.track, self.particle = task.output_object, network.target_object
        self.given_truth = TrueAssignment(network, task) if hasattr(task, "logit_key") else None
        self.parts: list[dict[str, NDArray]] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: dict[str, Any], *args: Any
    ) -> None:
        """Keeps one batch."""
        targets = outputs["targets"]
        preds = {name: tensor for task in outputs["preds"].values() for name, tensor in task.items()}
        sources = {comparison.MODEL: preds}
        if self.given_truth:
            with trainer.precision_plugin.forward_context():
                sources[comparison.TRUE_HITS] = self.given_truth.predict(targets)
        part = {
            "event": targets["sample_id"],
            "particle": targets[f"{self.particle}_valid"],
            "found": targets[f"{self.particle}_valid"] & preds[f"{self.track}_valid"],
        }
        for quantity, field in self.fields.items():
            part[f"true {quantity}"] = targets[f"{self.particle}_{field}"]
            part |= {f"{name} {quantity}": values[f"{self.track}_{field}"] for name, values in sources.items()}
        self.parts.append({name: _numpy(tensor) for name, tensor in part.items()})

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the model as it was."""
        if self.given_truth:
            self.given_truth.close()

    def pairs(
        self, estimates: dict[str, NDArray[np.float64]], reference: str
    ) -> tuple[comparison.Pairs, dict[str, int]]:
        """All particles that both the model and the reference have.

        Args:
            estimates: Reference by quantity, [events of the folder, N] each.
            reference: Its name.

        Returns:
            The particles, ordered by event, and the numbers of those that are compared or left out.
        """
        whole = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        order = np.argsort(whole["event"], kind="stable")
        whole = {name: values[order] for name, values in whole.items()}
        other = complete({quantity: values[whole["event"]] for quantity, values in estimates.items()})
        known = {
            name: complete({quantity: whole[f"{name} {quantity}"] for quantity in self.fields})
            for name in ("true", comparison.MODEL, *([comparison.TRUE_HITS] if self.given_truth else []))
        } | {reference: other}
        exists = np.isfinite([other[q] for q in set(other) & set(known["true"])]).all(0)
        found = whole["found"]
        chosen = found & exists
        event = np.broadcast_to(whole["event"][:, None], chosen.shape)[chosen]
        flat = {name: {q: values[chosen] for q, values in own.items()} for name, own in known.items()}
        counts = {
            "particles": int(whole["particle"].sum()),
            "not_found": int((whole["particle"] & ~found).sum()),
            "without_reference": int((found & ~exists).sum()),
            "compared": int(chosen.sum()),
        }
        return comparison.Pairs(event, flat.pop("true"), flat), counts


def _write(pairs: comparison.Pairs, counts: dict[str, int], output: Path, source: str) -> None:
    """Prints the tables; writes `comparison.json` and plots."""
    reference = list(pairs.estimates)[-1]
    rows = comparison.compare(pairs)
    edges = {"pt": comparison.momentum_edges, "eta": comparison.eta_edges}
    bins = {
        quantity: comparison.compare_in_bins(pairs, quantity, choose(pairs.true[quantity]))
        for quantity, choose in edges.items()
        if quantity in pairs.true
    }
    console = Console()
    console.print(comparison.table(rows, counts, reference))
    if "pt" in bins:
        console.print(comparison.bins_table(bins["pt"], reference))
    stored = comparison.as_json(rows, bins, counts, reference)
    write_text(output / "comparison.json", json.dumps(stored, indent=2, allow_nan=False) + "\n")
    written = ["comparison.json"]
    for against, own in bins.items():
        for quantity in (row.quantity for row in rows if row.quantity in RESOLUTIONS and any(own.rows)):
            path = output / "plots" / f"{quantity}_resolution_{against}.png"
            written.append(str(save(plot_resolution(own, against, quantity, source), path).relative_to(output)))
    console.print(f"written to {output}: {', '.join(written)}", highlight=False, markup=False, soft_wrap=True)


def _numpy(tensor: Tensor) -> NDArray:
    tensor = tensor.detach().cpu()
    return tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()
