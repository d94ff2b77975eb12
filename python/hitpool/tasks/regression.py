"""Estimates the parameters of objects."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from hitpool.nn.dense import Activation, Dense
from hitpool.nn.precision import at_least_float32, precise_dtype
from hitpool.nn.shapes import check_shapes
from hitpool.tasks.base import Task
from hitpool.tasks.regression_losses import LOSSES, QUANTILES, GaussianLoss, PointLoss, QuantileLoss
from hitpool.tasks.regression_metrics import regression_metrics
from hitpool.tasks.target_space import TargetSpace


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
        sign_fields: Fields of +1 and -1 that are learned as a logit by binary cross-entropy; the loss is called
            `bce` if there are no other fields.
        prediction_range: Lowest and highest prediction of a field in physical units; inverse fields that are
            not named have [1e-3, 1e5]. The share of predictions at an end is a metric.
        standardize: Mean and spread by field of what is learned (1 / value for inverse fields), or true to
            take them from the training data with `fit_standardization`, as `hitpool fit` does. They are saved.
        loss: Function of the difference in the learned space; `cauchy`, log(1 + difference^2), all but ignores
            differences far above 1, as from tracks with foreign hits. `gaussian` learns an error too, predicted as
            `<field>_error`; `quantile` learns `quantiles`, predicted as `<field>_q16` and so on; the value is the
            median.
        quantiles: Levels between 0 and 1, ascending, symmetric about 0.5 and with it; None for 0.16, 0.5, 0.84.
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
        loss: Literal["cauchy", "gaussian", "l1", "l2", "quantile", "smooth_l1"] = "smooth_l1",
        quantiles: list[float] | None = None,
        has_intermediate_loss: bool = False,
        cost_weight: float = 0.0,
    ) -> None:
        super().__init__(name, dim, [f"{output_object}_regr"], has_intermediate_loss)
        if loss not in LOSSES:
            raise ValueError(f"task {name}: loss {loss} does not exist; choose from {list(LOSSES)}")
        if quantiles is not None and loss != "quantile":
            raise ValueError(f"task {name}: quantiles are learned with loss: quantile, got loss: {loss}")
        self.output_object = output_object
        self.target_object = target_object
        self.fields = list(fields)
        self.loss_weight = loss_weight
        self.loss_name = "bce" if set(fields) <= set(sign_fields or []) else loss
        self.cost_weight = cost_weight
        self.space = TargetSpace(
            fields, inverse_fields, periodic_fields, sign_fields, prediction_range, standardize=standardize
        )
        self.scored = self._scored_by(loss, quantiles)
        if self.scored.columns:
            self._outputs = [*self._outputs, self._shape_key]
        self.head_size = len(fields) * (1 + self.scored.columns)

    def _start(self, last: nn.Linear) -> None:
        """Lets a head begin with one uncertainty for all: pooled sums are large, and their exponentials overflow."""
        with torch.no_grad():
            last.weight[len(self.fields) :] = 0
            last.bias[len(self.fields) :] = 0

    def _scored_by(self, loss: str, quantiles: Sequence[float] | None) -> PointLoss:
        if loss == "gaussian":
            return GaussianLoss(self.space)
        if loss == "quantile":
            return QuantileLoss(self.space, QUANTILES if quantiles is None else quantiles)
        return PointLoss(self.space, loss)

    @property
    def _shape_key(self) -> str:
        return f"{self.output_object}_shape"

    def _named(self, learned: Tensor) -> dict[str, Tensor]:
        """Outputs from what a head gives [..., K (1 + E)]: values [..., K], and the rest [..., K, E] if any."""
        count = len(self.fields)
        named = {f"{self.output_object}_regr": learned[..., :count]}
        if self.scored.columns:
            named[self._shape_key] = learned[..., count:].unflatten(-1, (count, self.scored.columns))
        return named

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
        """What `predict` gives of each object: the fields, and errors or quantiles if there are any."""
        return [*self.fields, *self.scored.names]

    def predict(self, outputs: dict[str, Tensor], query_mask: Tensor | None = None, **kwargs: Any) -> dict[str, Tensor]:
        if not outputs:
            return {}
        self.space.check_known(self.name)
        learned = self._learned(outputs)
        physical = self.space.decode(learned)  # [B, N, K]
        found = {field: physical[..., k] for k, field in enumerate(self.fields)}
        if self.scored.columns:
            found |= self.scored.predictions(physical, at_least_float32(learned), self._shape(outputs))
        return {f"{self.output_object}_{name}": value for name, value in found.items()}

    def loss(
        self, outputs: dict[str, Tensor], targets: dict[str, Tensor], layer_outputs: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """Mean over fields and true objects, under the name of the loss; 0 if there is nothing to learn from.

        Raises:
            ValueError: A target of a true object is not finite, or is 0 or below in an inverse field, or mean and
                spread of the targets are not known.
        """
        if not outputs:
            return {}
        valid, physical = self._known_targets(targets)
        learned, shape = self._learned(outputs, valid), self._shape(outputs)
        terms = self._terms(learned[valid], shape[valid], physical)  # [P, K]
        return {self.loss_name: self.loss_weight * terms.sum() / self.space.learnable(physical).sum().clamp(min=1)}

    def cost(self, outputs: dict[str, Tensor], targets: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Mean of the loss over fields for each pair, under its name; 0 for empty targets; none if its weight is 0.

        Raises:
            ValueError: As `loss`.
        """
        if not (self.cost_weight and outputs):
            return {}
        valid, physical = self._known_targets(targets)
        pred, shape = self._learned(outputs, valid), self._shape(outputs)  # [B, N, K] and [B, N, K, E]
        true = physical.new_ones(*valid.shape, len(self.fields)).index_put((valid,), physical)
        terms = self._terms(pred.unsqueeze(2), shape.unsqueeze(2), true.unsqueeze(1))  # [B, N, N, K]
        mean = terms.sum(-1) / self.space.learnable(true).sum(-1).clamp(min=1).unsqueeze(1)  # [B, N, N]
        return {self.loss_name: self.cost_weight * mean.masked_fill(~valid.unsqueeze(1), 0.0)}

    def _learned(self, outputs: dict[str, Tensor], valid: Tensor | None = None) -> Tensor:
        """Predictions in the learned space [B, N, K], for objects with the validity [B, N]."""
        learned = outputs[f"{self.output_object}_regr"]
        given = {f"{self.target_object}_valid": (valid, "B N"), f"{self.output_object}_regr": (learned, "B N K")}
        check_shapes(f"task {self.name}", given, K=len(self.fields))
        return learned

    def _shape(self, outputs: dict[str, Tensor]) -> Tensor:
        """What is learned besides the values [B, N, K, E]."""
        learned = outputs[f"{self.output_object}_regr"]
        return outputs[self._shape_key] if self.scored.columns else learned.new_zeros(*learned.shape, 0)

    def _terms(self, pred: Tensor, shape: Tensor, physical: Tensor) -> Tensor:
        """Loss of each field [..., K] from predictions in the learned space and targets in physical units.

        It is 0 for a target that cannot be learned.
        """
        pred, shape = at_least_float32(pred), at_least_float32(shape)
        learnable = self.space.learnable(physical)
        physical = torch.where(learnable, physical, 1.0).to(pred.dtype)
        terms = self.scored.terms(self.space.difference(pred, self.space.encode(physical)), shape)
        if self.space.sign.any():
            positive = (physical > 0).to(pred.dtype).expand_as(terms)
            sign = binary_cross_entropy_with_logits(pred.expand_as(terms), positive, reduction="none")
            terms = torch.where(self.space.sign, sign, terms)
        return terms.masked_fill(~learnable, 0.0)

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
        if (bad := self._refused(physical)).any():
            index, k = bad.nonzero()[0].tolist()
            event, slot = valid.nonzero()[index].tolist()
            label = int(targets["sample_id"][event]) if "sample_id" in targets else f"{event} of the batch"
            needed = "finite and above 0 (inverse_fields)" if self.space.inverse[k] else "finite"
            raise ValueError(
                f"task {self.name}: target {self.fields[k]} must be {needed}, got "
                f"{physical[index, k].item():g} in event {label}, slot {slot}"
            )
        return valid, physical

    def _refused(self, physical: Tensor) -> Tensor:
        """Which targets [P, K] are errors."""
        return ~physical.isfinite() | ~self.space.learnable(physical)

    def metrics(self, preds: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """For each field mean, sigma68 and rms of prediction - truth over true objects, `<field>_res_*`.

        Fields that end in pt, and inverse fields, have `<field>_rel_res_*` too, relative to the truth; phi is wrapped;
        fields that end in q have `<field>_accuracy`, the share of right signs, instead. With a `prediction_range` there
        is `<field>_limited`, the share of predictions at one of its ends; with errors `<field>_pull_mean` and
        `_pull_sigma68`; with quantiles `<field>_below_q16` and so on, the share of true values up to the quantile. See
        `hitpool.residuals`. Empty without true objects.
        """
        valid, physical = self._targets(targets)
        if not (preds and len(physical)):
            return {}
        predicted = {name: preds[f"{self.output_object}_{name}"][valid] for name in self.predicted}
        return regression_metrics(self.space, predicted, physical, self.scored.quantiles)


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
        activation: Of the network.
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
        activation: Activation = "silu",
        **kwargs: Any,
    ) -> None:
        super().__init__(name, output_object, target_object, fields, loss_weight, dim, **kwargs)
        self.input_object = input_object
        self.net = Dense(dim, self.head_size, activation=activation)
        self._start(self.net.last)

    def forward(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        precise_dtype(self, f"task {self.name}")
        queries = self.embeddings(x, self.input_object)  # [B, N, D]
        with torch.autocast(queries.device.type, enabled=False):
            return self._named(self.net(queries))
