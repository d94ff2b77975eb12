"""True and estimated parameters of the same particles, from a model, its true hits, or the data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from hitpool.evaluation.comparison import Pairs
from hitpool.evaluation.quantities import RESOLUTIONS, complete, fields_by_quantity
from hitpool.evaluation.true_assignment import TrueAssignment

MODEL, TRUE_HITS, FIT_ALONE = "model", "true hits", "fit alone"
FITTED = ("qpt", "eta", "phi")


@dataclass(frozen=True)
class Estimate:
    """Tracks in the slots of the particles.

    Args:
        valid: Whether there is a track, [E, N] bool.
        values: Its parameters by quantity, [E, N] each.
        decides: Whether `valid` was decided without the truth, so that tracks can be missing and wrong.
        errors: Standard deviations of the parameters by quantity, as far as they are estimated, [E, N] each.
    """

    valid: NDArray[np.bool_]
    values: dict[str, NDArray[np.float64]]
    decides: bool = False
    errors: dict[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """Particles of E events in N slots, and estimates of their parameters.

    Args:
        event: Number of each event in its data set, ascending, [E].
        particle: Whether the slot holds a particle, [E, N] bool.
        true: True parameters by quantity, [E, N] each.
        estimates: Estimates by name.
    """

    event: NDArray[np.int64]
    particle: NDArray[np.bool_]
    true: dict[str, NDArray[np.float64]]
    estimates: dict[str, Estimate]

    def pairs(self) -> Pairs:
        """Particles of which there are all estimates, with these."""
        chosen = self.particle & np.logical_and.reduce([estimate.valid for estimate in self.estimates.values()])
        event = np.broadcast_to(self.event[:, None], chosen.shape)[chosen]
        true, *flat = (
            {quantity: values[chosen] for quantity, values in of.items()}
            for of in (self.true, *(own.values for own in self.estimates.values()))
        )
        errors = {
            name: {
                quantity: values[chosen] / (np.abs(true[quantity]) if RESOLUTIONS[quantity].relative else 1.0)
                for quantity, values in own.errors.items()
            }
            for name, own in self.estimates.items()
            if own.errors
        }
        return Pairs(event, true, dict(zip(self.estimates, flat, strict=True)), errors=errors)

    def missing(self) -> dict[str, int]:
        """Number of particles without a track, by estimate."""
        return {name: int((self.particle & ~own.valid).sum()) for name, own in self.estimates.items()}

    def with_reference(
        self, name: str, values: dict[str, NDArray[np.float64]], errors: dict[str, NDArray[np.float64]] | None = None
    ) -> Sample:
        """The sample with another estimate.

        Args:
            name: Its name.
            values: Its parameters by quantity, [events of the data set, N] each; NaN where there is none.
            errors: Their standard deviations, as far as it states them.
        """
        values = complete({quantity: array[self.event] for quantity, array in values.items()})
        valid = np.isfinite([values[quantity] for quantity in set(values) & set(self.true)]).all(0)
        errors = {quantity: array[self.event] for quantity, array in (errors or {}).items()}
        estimate = Estimate(valid, values, errors=errors)
        return Sample(self.event, self.particle, self.true, self.estimates | {name: estimate})


def side_by_side(samples: dict[str, Sample]) -> Sample:
    """The estimates of several models for the same particles.

    Args:
        samples: Tracks of each model on the same data set, by name.

    Returns:
        The particles with the estimate of each model, without those with true hits.

    Raises:
        ValueError: If the models were not given the same particles.
    """
    first = next(iter(samples.values()))
    for name, sample in samples.items():
        if not (np.array_equal(sample.event, first.event) and np.array_equal(sample.particle, first.particle)):
            raise ValueError(
                f"{name} was given other particles than {next(iter(samples))}: {sample.particle.sum()} in "
                f"{len(sample.event)} events, expected {first.particle.sum()} in {len(first.event)}; "
                "data.max_particles and data.num_test must be the same"
            )
    true = {quantity: values for sample in samples.values() for quantity, values in sample.true.items()}
    return Sample(first.event, first.particle, true, {name: own.estimates[MODEL] for name, own in samples.items()})


def has_parameters(network: torch.nn.Module) -> bool:
    """Whether a task of the model regresses track parameters.

    Args:
        network: Model of the `hitpool.nn.MaskFormer` interface.
    """
    return any(fields_by_quantity(getattr(task, "fields", [])) for task in network.tasks)


def regression(network: torch.nn.Module) -> torch.nn.Module:
    """The task whose fields are the track parameters.

    Args:
        network: Model of the `hitpool.nn.MaskFormer` interface.

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
        others: Whether to show too what it gives with the true hits of each track, if it pools hits, and what its track
            fit gives without the response that corrects it, if there is one.

    Raises:
        ValueError: If the model regresses no track parameter.
    """

    def __init__(self, network: torch.nn.Module, others: bool = True) -> None:
        task = regression(network)
        self.fields = fields_by_quantity(task.fields)
        self.track, self.particle = task.output_object, network.target_object
        self.given_truth = TrueAssignment(network, task) if others and hasattr(task, "logit_key") else None
        self.with_fit = task if others and getattr(task, "response", None) and task.response.ready else None
        self.parts: list[dict[str, NDArray]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks for the results of the fit."""
        if self.with_fit:
            self.with_fit.describing = True

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: dict[str, Any], *args: Any
    ) -> None:
        """Keeps one batch."""
        targets = outputs["targets"]
        preds = {name: tensor for task in outputs["preds"].values() for name, tensor in task.items()}
        sources = {MODEL: preds}
        if self.given_truth:
            with trainer.precision_plugin.forward_context():
                sources[TRUE_HITS] = self.given_truth.predict(targets)
        if self.with_fit:
            described = outputs["outputs"][self.with_fit.name]
            fit = described[self.with_fit.late_key("fit")]  # [B, N, 3]
            known = dict(zip(FITTED, fit.unbind(-1), strict=True))
            known |= {"pt": 1 / known["qpt"].abs(), "q": known["qpt"].sign()}
            sources[FIT_ALONE] = {f"{self.track}_{column}": known[name] for name, column in self.fields.items()}
            if self.with_fit.response.fit_errors:
                errors = dict(zip(FITTED, described[self.with_fit.late_key("units")].unbind(-1), strict=True))
                sources[FIT_ALONE] |= {f"{self.track}_{self.fields[name]}_error": errors[name] for name in FITTED}
        part = {
            "event": targets["sample_id"],
            "particle": targets[f"{self.particle}_valid"],
            "valid": preds[f"{self.track}_valid"],
        }
        for quantity, column in self.fields.items():
            part[f"true {quantity}"] = targets[f"{self.particle}_{column}"]
            for name, values in sources.items():
                part[f"{name} {quantity}"] = values[f"{self.track}_{column}"]
                if (error := f"{self.track}_{column}_error") in values and quantity in RESOLUTIONS:
                    part[f"{name} error {quantity}"] = values[error]
        self.parts.append({name: _numpy(tensor) for name, tensor in part.items()})

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the model as it was."""
        if self.given_truth:
            self.given_truth.close()
        if self.with_fit:
            self.with_fit.describing = False

    def sample(self) -> Sample:
        """All particles and tracks, ordered by event."""
        whole = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        order = np.argsort(whole["event"], kind="stable")
        whole = {name: values[order] for name, values in whole.items()}

        def values(source: str) -> dict[str, NDArray[np.float64]]:
            return complete({quantity: whole[f"{source} {quantity}"] for quantity in self.fields})

        def errors(source: str) -> dict[str, NDArray[np.float64]]:
            return {q: whole[name] for q in self.fields if (name := f"{source} error {q}") in whole}

        estimates = {MODEL: Estimate(whole["valid"], values(MODEL), True, errors(MODEL))}
        if self.given_truth:
            estimates[TRUE_HITS] = Estimate(whole["particle"], values(TRUE_HITS), errors=errors(TRUE_HITS))
        if self.with_fit:
            estimates[FIT_ALONE] = Estimate(whole["valid"], values(FIT_ALONE), errors=errors(FIT_ALONE))
        return Sample(whole["event"], whole["particle"], values("true"), estimates)


def _numpy(tensor: Tensor) -> NDArray:
    tensor = tensor.detach().cpu()
    return tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()
