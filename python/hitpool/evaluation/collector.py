"""Callbacks that collect the estimates of a model during its test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor, nn

from hitpool.evaluation.arrays import to_numpy
from hitpool.evaluation.fields import all_fields, own_resolutions, regressions, units_of
from hitpool.evaluation.found_hits import FoundHits
from hitpool.evaluation.quantities import RESOLUTIONS, Resolution, fields_by_quantity
from hitpool.evaluation.tracks import FIT_ALONE, MODEL, TRUE_HITS, Estimate, Tracks, residual_errors
from hitpool.nn import MaskFormer
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.tasks.regression import RegressionTask
from hitpool.training.module import TrackingModule

FITTED = ("qpt", "eta", "phi")
CERTAIN = 20.0  # logit of a hit of the track; its negative for the others
Named = dict[str, Tensor]


class Collector(Callback):
    """Collects the true and the predicted tracks of a test, in the slots of the particles.

    Args:
        track: Name of the predicted objects: the predictions are `<track>_valid`, `<track>_<hit>_valid`,
            `<track>_<field>`, `<track>_<field>_error`.
        particle: Name of the true objects: the targets are `<particle>_valid`, `<particle>_<hit>_valid`,
            `<particle>_<field>`.
        hit: Name of the hits.
        fields: Fields by quantity; those that are predicted are collected.
    """

    def __init__(self, track: str, particle: str, hit: str, fields: Mapping[str, str]) -> None:
        self.track = track
        self.particle = particle
        self.hit = hit
        self.fields = dict(fields)
        self.resolutions: dict[str, Resolution] = {}
        self.units: dict[str, str] = {}
        self.batches: list[Tracks] = []

    @property
    def tracks(self) -> Tracks:
        """All particles and tracks, ordered by event."""
        return Tracks.concatenate(self.batches)

    def describe(self, network: MaskFormer, datamodule: Any) -> None:
        """Notes how residuals of the fields are taken, and their units.

        Args:
            network: Model of the `hitpool.nn.MaskFormer` interface.
            datamodule: Data module with the test events.
        """
        columns = units_of(datamodule)
        known = own_resolutions(regressions(network), columns)
        self.resolutions = {q: known[field] for q, field in self.fields.items() if q == field and field in known}
        self.units = {quantity: columns[field] for quantity, field in self.fields.items() if field in columns}

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keeps one batch."""
        targets = outputs["targets"]
        preds = {name: tensor for task in outputs["preds"].values() for name, tensor in task.items()}
        particle, valid = to_numpy(targets[f"{self.particle}_valid"]), to_numpy(preds[f"{self.track}_valid"])
        fields = {quantity: field for quantity, field in self.fields.items() if f"{self.track}_{field}" in preds}
        true = {quantity: to_numpy(targets[f"{self.particle}_{field}"]) for quantity, field in fields.items()}

        resolutions = RESOLUTIONS | self.resolutions

        def estimate(valid: NDArray[np.bool_], named: Named, decides: bool = False) -> Estimate:
            values = {
                quantity: to_numpy(named[name])
                for quantity, field in fields.items()
                if (name := f"{self.track}_{field}") in named
            }
            errors = {
                quantity: to_numpy(named[error])
                for quantity, field in fields.items()
                if (error := f"{self.track}_{field}_error") in named and quantity in resolutions
            }
            return Estimate(valid, values, decides, residual_errors(errors, true, resolutions))

        estimates = {MODEL: estimate(valid, preds, decides=True)}
        for name, (own, named) in self.other_estimates(trainer, outputs).items():
            estimates[name] = estimate(to_numpy(own), named)
        event = to_numpy(targets["sample_id"])
        tracks = Tracks(event, particle, true, estimates, resolutions=self.resolutions, units=self.units)
        if (assigned := f"{self.track}_{self.hit}_valid") in preds:
            belongs, real = targets[f"{self.particle}_{self.hit}_valid"], targets[f"{self.hit}_valid"]
            tracks = tracks.with_hits(to_numpy(belongs), to_numpy(preds[assigned]), to_numpy(real))
        self.batches.append(tracks)

    def other_estimates(self, trainer: Trainer, outputs: dict[str, Any]) -> dict[str, tuple[Tensor, Named]]:
        """Further estimates of a batch: their validity and predictions by name; none by default.

        Args:
            trainer: The trainer.
            outputs: What the test step returned.
        """
        return {}


class ParameterCollector(Collector):
    """Collects the track parameters that a model regresses, and what is known of where they come from.

    Args:
        network: Model of the `hitpool.nn.MaskFormer` interface.
        others: Whether to show too what it gives with the true hits of each track, if it pools hits, and what its track
            fit gives without the response that corrects it, if there is one.
        found: Hits of found tracks by name of what found them, to show what it gives with these, if it pools hits.

    Raises:
        ValueError: If the model regresses no track parameter.
    """

    def __init__(self, network: MaskFormer, others: bool = True, found: Mapping[str, FoundHits] | None = None) -> None:
        task = regression(network)
        fields = all_fields(task.fields, [task])
        super().__init__(task.output_object, network.target_object, network.input_name, fields)
        pooling = task if others and isinstance(task, WeightedPoolingObjectHitRegressionTask) else None
        self.given_truth = TrueAssignment(network, pooling) if pooling else None
        self.found = dict(found or {})
        self.with_fit = pooling if pooling and pooling.response and pooling.response.ready else None

    @property
    def tracks(self) -> Tracks:
        """All particles and tracks, ordered by event, with the parameters that follow from others."""
        return super().tracks.completed()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks for the results of the fit."""
        self.describe(cast(TrackingModule, pl_module).model, cast(Any, trainer).datamodule)
        if self.with_fit:
            self.with_fit.describing = True

    def other_estimates(self, trainer: Trainer, outputs: dict[str, Any]) -> dict[str, tuple[Tensor, Named]]:
        estimates, targets = {}, outputs["targets"]
        if self.given_truth:
            with trainer.precision_plugin.forward_context():
                estimates[TRUE_HITS] = targets[f"{self.particle}_valid"], self.given_truth.predict(targets)
                for finder, found in self.found.items():
                    true = targets[f"{self.particle}_{self.hit}_valid"]
                    own = found.belongs(to_numpy(targets["sample_id"]), to_numpy(true))  # [B, N, M]
                    hits = torch.from_numpy(own).to(true.device)
                    estimates[f"{finder} hits"] = hits.any(-1), self.given_truth.predict_with(hits)
        if self.with_fit:
            preds = {name: tensor for task in outputs["preds"].values() for name, tensor in task.items()}
            estimates[FIT_ALONE] = preds[f"{self.track}_valid"], self._fit_alone(self.with_fit, outputs["outputs"])
        return estimates

    def _fit_alone(self, task: WeightedPoolingObjectHitRegressionTask, outputs: dict[str, Named]) -> Named:
        """Predictions of the fit, named as those of the task."""
        assert task.response is not None  # it corrects the fit
        described = outputs[task.name]
        known = dict(zip(FITTED, described[task.late_key("fit")].unbind(-1), strict=True))  # [B, N] each
        known |= {"pt": 1 / known["qpt"].abs(), "q": known["qpt"].sign()}
        named = {
            f"{self.track}_{field}": known[quantity] for quantity, field in self.fields.items() if quantity in known
        }
        if task.response.fit_errors:
            errors = dict(zip(FITTED, described[task.late_key("units")].unbind(-1), strict=True))
            named |= {f"{self.track}_{self.fields[quantity]}_error": errors[quantity] for quantity in FITTED}
        return named

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the model as it was."""
        if self.given_truth:
            self.given_truth.close()
        if self.with_fit:
            self.with_fit.describing = False


def has_parameters(network: MaskFormer) -> bool:
    """Whether a task of the model regresses track parameters.

    Args:
        network: Model of the `hitpool.nn.MaskFormer` interface.
    """
    return bool(regressions(network))


def regression(network: MaskFormer) -> RegressionTask:
    """The task whose fields are the track parameters: the first with known quantities, or else the first.

    Args:
        network: Model of the `hitpool.nn.MaskFormer` interface.

    Raises:
        ValueError: If there is none.
    """
    tasks = regressions(network)
    if not tasks:
        raise ValueError(f"no task of the model regresses parameters; its tasks are {[t.name for t in network.tasks]}")
    return max(tasks, key=lambda task: bool(fields_by_quantity(task.fields)))  # the first with known quantities


class TrueAssignment:
    """Runs the regression of a model again, with the true assignment, or another one, in place of the logits.

    Queries and encoded hits are those of the model: only what is pooled changes.

    Args:
        network: Model of the `hitpool.nn.MaskFormer` interface.
        task: Task of it that reads assignment logits.
    """

    def __init__(self, network: MaskFormer, task: WeightedPoolingObjectHitRegressionTask) -> None:
        self.network = network
        self.task = task
        self._hook = task.register_forward_pre_hook(self._keep, with_kwargs=True)
        self._x: dict[str, Any] = {}
        self._outputs: dict[str, dict[str, Tensor]] = {}

    def close(self) -> None:
        """Leaves the model as it was."""
        self._hook.remove()

    def _keep(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._x, self._outputs = args[0], kwargs["outputs"]  # the last call is that of the final layer

    @torch.no_grad()
    def predict(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Predictions for the batch that went through the model last.

        Args:
            targets: Its targets.

        Returns:
            Predictions of the task; slot i belongs to true object i.
        """
        pair = self.network.pair("final", self._outputs, targets)  # [B, N]
        return self._predict(targets[f"{self.network.target_object}_{self.task.input_hit}_valid"], pair)

    @torch.no_grad()
    def predict_with(self, belongs: Tensor) -> dict[str, Tensor]:
        """Predictions for the batch that went through the model last, with any lists of hits.

        The query of a list is that to which the model gives most of its hits: the largest sum of their probabilities.

        Args:
            belongs: Whether hit m is in list i, [B, N, M].

        Returns:
            Predictions of the task; slot i belongs to list i.
        """
        key = self.task.logit_key
        logits = next(named[key] for named in self._outputs.values() if key in named)  # [B, queries, M]
        shared = belongs.to(logits.dtype) @ logits.sigmoid().mT  # [B, N, queries]
        return self._predict(belongs, shared.argmax(-1))

    def _predict(self, belongs: Tensor, query: Tensor) -> dict[str, Tensor]:
        """Predictions of the task for hits [B, N, M] with their queries [B, N]."""
        queries = f"{self.task.input_object}_embed"
        event = torch.arange(len(query), device=query.device).unsqueeze(-1)  # [B, 1]
        logits = torch.where(belongs, CERTAIN, -CERTAIN)
        x = {**self._x, queries: self._x[queries][event, query]}
        return self.task.predict(self.task(x, outputs={"truth": {self.task.logit_key: logits}}))
