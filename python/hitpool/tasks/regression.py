"""Estimates the parameters of objects."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from hitpool.nn.dense import Dense
from hitpool.nn.precision import at_least_float32, precise_dtype
from hitpool.nn.shapes import check_shapes
from hitpool.quantity import quantity_of
from hitpool.residuals import mean, periodic_residual, relative_residual, residual, right_charge, rms, sigma68
from hitpool.tasks.base import Task
from hitpool.tasks.target_space import TargetSpace

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {  # of the difference
    "cauchy": lambda difference: difference.square().log1p(),
    "l1": torch.abs,
    "l2": torch.square,
    "smooth_l1": lambda difference: smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none"),
}
SUMMARIES = {"mean": mean, "sigma68": sigma68, "rms": rms}


class RegressionTask(Task):
    """Regression of K fields for each object slot; subclasses give `forward`.

    Args:
        name: Key of its outputs, losses and predictions.
        output_object: Name of the predicted objects: `<output_object>_regr` [B, N, K] in the learned space.
        target_object: Name of the true objects: `<target_object>_valid` and `<target_object>_<field>` [B, N].
        fields: Regressed fields; those that end in pt are scored by relative, phi by wrapped residuals, q by
            sign.
        loss_weight: Weight of the loss.
        dim: Features D of the embeddings.
        inverse_fields: Positive fields that are learned and scored as 1 / value and predicted as value.
        periodic_fields: Angles: the loss uses the wrapped difference, predictions lie in (-pi, pi].
        sign_fields: Fields of +1 and -1 that are learned as a logit by binary cross-entropy.
        prediction_range: Lowest and highest prediction of a field in physical units; inverse fields that are
            not named have [1, 1000], so that 1 / value near 0 does not give absurd values.
        standardize: Mean and spread by field of what is learned (1 / value for inverse fields), or true to
            take them from the training data with `fit_standardization`, as `hitpool fit` does. They are saved.
        loss: Function of the difference in the learned space; `cauchy`, log(1 + difference^2), all but ignores
            differences far above 1, as from tracks with foreign hits.
        has_intermediate_loss: Run and be scored in front of each decoder layer too.
        cost_weight: Weight of the loss as matching cost; 0 for no cost.

    Raises:
        ValueError: Options contradict or name fields that are not regressed.
    """

    def __init__(
        self,
        name: str,
        output_object: str,
        target_object: str,
        fields: list[str],
        loss_weight: float,
        dim: int,
        inverse_fields: list[str] | None = None,
        periodic_fields: list[str] | None = None,
        sign_fields: list[str] | None = None,
        prediction_range: dict[str, tuple[float, float]] | None = None,
        standardize: bool | dict[str, tuple[float, float]] = False,
        loss: Literal["cauchy", "l1", "l2", "smooth_l1"] = "smooth_l1",
        has_intermediate_loss: bool = False,
        cost_weight: float = 0.0,
    ) -> None:
        super().__init__(name, dim, [f"{output_object}_regr"], has_intermediate_loss)
        if loss not in LOSSES:
            raise ValueError(f"task {name}: loss {loss} does not exist; choose from {sorted(LOSSES)}")
        self.output_object = output_object
        self.target_object = target_object
        self.fields = list(fields)
        self.loss_weight = loss_weight
        self.loss_name = loss
        self.cost_weight = cost_weight
        self.space = TargetSpace(
            fields, inverse_fields, periodic_fields, sign_fields, prediction_range, standardize=standardize
        )

    def fit_standardization(self, values: dict[str, Tensor]) -> None:
        """Compute mean and spread of each field from the training data, if `standardize` is true.

        Args:
            values: Targets of all training particles [n] in physical units by field; further ones are
                ignored.

        Raises:
            ValueError: A field is missing, or holds nothing, NaN, Inf or, if inverse, values of 0 or below.
        """
        self.space.fit(values)

    @property
    def predicted(self) -> list[str]:
        """What `predict` gives of each object: the fields, and the errors `<field>_error` if there are any."""
        return self.fields

    def predict(self, outputs: dict[str, Tensor], query_mask: Tensor | None = None, **kwargs: Any) -> dict[str, Tensor]:
        if not outputs:
            return {}
        self.space.check_known(self.name)
        physical = self.space.decode(self._learned(outputs))  # [B, N, K]
        return {f"{self.output_object}_{field}": physical[..., k] for k, field in enumerate(self.fields)}

    def loss(
        self, outputs: dict[str, Tensor], targets: dict[str, Tensor], layer_outputs: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """Mean over fields and true objects, under the name of the loss; 0 if there is no true object.

        Raises:
            ValueError: A target of a true object is not finite, or is 0 or below in an inverse field, or mean and
                spread of the targets are not known.
        """
        if not outputs:
            return {}
        valid, physical = self._known_targets(targets)
        terms = self._terms(at_least_float32(self._learned(outputs, valid)[valid]), physical)  # [P, K]
        return {self.loss_name: self.loss_weight * terms.sum() / max(terms.numel(), 1)}

    def cost(self, outputs: dict[str, Tensor], targets: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Mean of the loss over fields for each pair, under its name; 0 for empty targets; none if its weight is 0.

        Raises:
            ValueError: As `loss`.
        """
        if not (self.cost_weight and outputs):
            return {}
        valid, physical = self._known_targets(targets)
        pred = at_least_float32(self._learned(outputs, valid))  # [B, N, K]
        true = pred.new_ones(*valid.shape, len(self.fields)).index_put((valid,), physical.to(pred.dtype))
        terms = self._terms(pred.unsqueeze(2), true.unsqueeze(1)).mean(-1)  # [B, N, N]
        return {self.loss_name: self.cost_weight * terms.masked_fill(~valid.unsqueeze(1), 0.0)}

    def _learned(self, outputs: dict[str, Tensor], valid: Tensor | None = None) -> Tensor:
        """Predictions in the learned space [B, N, K], for objects with the validity [B, N]."""
        learned = outputs[f"{self.output_object}_regr"]
        given = {f"{self.target_object}_valid": (valid, "B N"), f"{self.output_object}_regr": (learned, "B N K")}
        check_shapes(f"task {self.name}", given, K=len(self.fields))
        return learned

    def _terms(self, pred: Tensor, physical: Tensor) -> Tensor:
        """Loss of each field [..., K] from predictions in the learned space and targets in physical units."""
        difference = self.space.difference(pred, self.space.encode(physical))
        terms = LOSSES[self.loss_name](difference)
        if not self.space.sign.any():
            return terms
        positive = (physical > 0).to(pred.dtype).expand_as(terms)
        sign = binary_cross_entropy_with_logits(pred.expand_as(terms), positive, reduction="none")
        return torch.where(self.space.sign, sign, terms)

    def _known_targets(self, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What `_targets` gives, for a learned space that is known."""
        self.space.check_known(self.name)
        return self._targets(targets)

    def _targets(self, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Validity [B, N] and targets [P, K] of the P true objects, checked."""
        prefix = f"{self.target_object}_"
        if missing := [field for field in self.fields if prefix + field not in targets]:
            raise KeyError(f"task {self.name}: no targets {missing}; add them to data.targets.{self.target_object}")
        valid = targets[f"{prefix}valid"]
        physical = torch.stack([at_least_float32(targets[prefix + field][valid]) for field in self.fields], dim=-1)
        bad = ~physical.isfinite() | (self.space.inverse & (physical <= 0))
        if bad.any():
            index, k = bad.nonzero()[0].tolist()
            event, slot = valid.nonzero()[index].tolist()
            label = int(targets["sample_id"][event]) if "sample_id" in targets else f"{event} of the batch"
            needed = "finite and above 0 (inverse_fields)" if self.space.inverse[k] else "finite"
            raise ValueError(
                f"task {self.name}: target {self.fields[k]} must be {needed}, got "
                f"{physical[index, k].item():g} in event {label}, slot {slot}"
            )
        return valid, physical

    def metrics(self, preds: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """For each field mean, sigma68 and rms of the residual (prediction - truth) over true objects.

        Fields that end in pt have `<field>_rel_res_*`, relative to the truth; phi is wrapped; fields that end
        in q have `<field>_accuracy`, the share of right signs, instead. See `hitpool.residuals`. Empty without
        true objects.
        """
        valid, physical = self._targets(targets)
        if not (preds and len(physical)):
            return {}
        predicted = torch.stack([preds[f"{self.output_object}_{field}"][valid] for field in self.fields])  # [K, P]
        metrics = {}
        for k, (field, pred, true) in enumerate(zip(self.fields, _numpy(predicted), _numpy(physical.T), strict=True)):
            quantity = quantity_of(field)
            if self.space.sign[k] or quantity == "q":
                metrics[f"{field}_accuracy"] = mean(right_charge(pred, true))
                continue
            difference, label = residual, f"{field}_res"
            if self.space.periodic[k] or quantity == "phi":
                difference = periodic_residual
            elif self.space.inverse[k] or quantity == "pt":
                difference, label = relative_residual, f"{field}_rel_res"
            values = difference(pred, true)
            metrics |= {f"{label}_{name}": number(values) for name, number in SUMMARIES.items()}
        return dict(zip(metrics, physical.new_tensor(list(metrics.values())), strict=True))


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().double().numpy()


class ObjectRegressionTask(RegressionTask):
    """Regression from the query alone.

    Args:
        name: Key of its outputs, losses and predictions.
        input_object: Reads `<input_object>_embed`.
        output_object: Name of the predicted objects: `<output_object>_regr` [B, N, K] in the learned space.
        target_object: Name of the true objects: `<target_object>_valid` and `<target_object>_<field>` [B, N].
        fields: Regressed fields; those that end in pt are scored by relative, phi by wrapped residuals, q by
            sign.
        loss_weight: Weight of the loss.
        dim: Features D of the embeddings.
        **kwargs: Options of every regression task.
    """

    def __init__(
        self,
        name: str,
        input_object: str,
        output_object: str,
        target_object: str,
        fields: list[str],
        loss_weight: float,
        dim: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, output_object, target_object, fields, loss_weight, dim, **kwargs)
        self.input_object = input_object
        self.net = Dense(dim, len(fields))

    def forward(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        precise_dtype(self, f"task {self.name}")
        queries = self.embeddings(x, self.input_object)  # [B, N, D]
        with torch.autocast(queries.device.type, enabled=False):
            return {f"{self.output_object}_regr": self.net(queries)}
