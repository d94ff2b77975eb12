"""Estimates the parameters of objects from their hits."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hitpool.fits import FirstHit, FitResponse, HelixFit, HitResponse, TrackFit
from hitpool.fits.response import QUANTITIES
from hitpool.hits import Hits
from hitpool.nn.dense import Activation, Dense, HiddenNorm
from hitpool.nn.fields import stack_fields
from hitpool.nn.precision import precise_dtype
from hitpool.nn.shapes import check_shapes
from hitpool.ops import weighted_pool
from hitpool.tasks.fitted_fields import FittedFields
from hitpool.tasks.regression import RegressionTask

CORRECTED = (HelixFit, FirstHit)  # whose results the head corrects
LEAST_POSTERIOR = 1e-6  # and largest, so that its logit is finite
FIT_FEATURES = ("eta", "phi", "qpt", "d0", "z0")


class WeightedPoolingObjectHitRegressionTask(RegressionTask):
    """Regression from the query and from the hits assigned to it.

    Raw hit fields [B, M, F] and encoded hits [B, M, D] go through a network each, to P features.
    `weighted_pool` reduces both over the hits of each object, with the logits of the mask task. Query, raw
    mean, sum, max, min and encoded mean, sum, max, min, D + 8 P features, are the input of the head. By
    default P = D/2, so these are 5 D. Inside hepattn, use `hitpool.hepattn.tasks` instead.

    Args:
        name: Key of its outputs, losses and predictions.
        input_hit: Kind of hits: reads `<input_hit>_embed`, `<input_hit>_valid`, `<input_hit>_<field>`.
        input_object: Reads `<input_object>_embed`.
        output_object: Name of the predicted objects: `<output_object>_regr` [B, N, K] in the learned space.
            Reads `<output_object>_<input_hit>_logit` [B, N, M] of a mask task that comes before this one.
        target_object: Name of the true objects: `<target_object>_valid` and `<target_object>_<field>` [B, N].
        hit_fields: Raw fields of the hits, F of them, each among the inputs of the data.
        fields: Regressed fields; those that end in pt are scored by relative, phi by wrapped residuals, q by
            sign.
        loss_weight: Weight of the loss.
        dim: Features D of the embeddings.
        assignment_threshold: Probability from which a hit is pooled.
        inverse_fields: Positive fields that are learned and scored as 1 / value and predicted as value.
        pooled_dim: Features P of raw and of encoded hits each; None for D/2.
        regression_hidden_dim: Width of the head's hidden layers; None for half of its input.
        regression_num_layers: Linear layers of the head; None for 1.
        dropout: Probability of dropping a hidden feature of the head in training; None for 0.
        layer_norm: Put a LayerNorm in front of every linear layer of the head; `hidden`: behind every activation, in
            front of the dropout. Advisable with `periodic_fields`: pooled sums are large, and the wrapped loss does not
            pull in predictions that are whole turns off.
        activation: Of the networks of raw and of encoded hits.
        head_activation: Of the head.
        track_fit: Fit of the assigned hits. Without `response`, the head learns what has to be added to its results, by
            the part of a field's name behind the last underscore: eta, phi, theta, pt, qpt or qop, d0 and z0 in mm.
            Advisable with `standardize` in units of the resolution. `FirstHit` stands for the simplest one.
        response: Network that corrects the results of `track_fit` and gives their errors. The head learns as without a
            fit, and is what the response falls back to. It is trained in the second phase of `hitpool fit`, with
            everything else as it is; before, the predictions are the head's.
        hit_response: Revises the assignment of the hits from the fit; then the track is fitted again. It is trained
            before the response.
        hit_posterior: With a trained response, the probability of an assigned hit becomes its posterior after the fit.
        **kwargs: Options of every regression task.

    Raises:
        ValueError: Options contradict or name fields that are not regressed.
    """

    def __init__(
        self,
        name: str,
        input_hit: str,
        *,
        input_object: str,
        output_object: str,
        target_object: str,
        hit_fields: list[str],
        fields: list[str],
        loss_weight: float,
        dim: int,
        assignment_threshold: float = 0.1,
        inverse_fields: list[str] | None = None,
        pooled_dim: int | None = None,
        regression_hidden_dim: int | None = None,
        regression_num_layers: int | None = None,
        dropout: float | None = None,
        layer_norm: bool | HiddenNorm = False,
        activation: Activation = "silu",
        head_activation: Activation = "silu",
        track_fit: TrackFit | None = None,
        response: FitResponse | None = None,
        hit_response: HitResponse | None = None,
        hit_posterior: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, output_object, target_object, fields, loss_weight, dim, inverse_fields, **kwargs)
        if not hit_fields:
            raise ValueError(f"task {name}: hit_fields is empty, name the raw hit fields to pool")
        if not 0 <= assignment_threshold <= 1:
            raise ValueError(f"task {name}: assignment_threshold must be from 0 to 1, got {assignment_threshold}")
        if regression_num_layers is not None and regression_num_layers < 1:
            raise ValueError(f"task {name}: regression_num_layers must be at least 1, got {regression_num_layers}")
        if pooled_dim is None:
            if dim % 2:
                raise ValueError(f"task {name}: dim must be even, got {dim}; or set pooled_dim")
            pooled_dim = dim // 2
        self.input_hit = input_hit
        self.input_object = input_object
        self.hit_fields = list(hit_fields)
        self.assignment_threshold = assignment_threshold
        self.logit_key = f"{output_object}_{input_hit}_logit"
        self.required_outputs = [self.logit_key]
        self.pooled_dim = pooled_dim
        self.track_fit = track_fit
        self.response = response
        self.hit_response = hit_response
        self.hit_posterior = hit_posterior
        self.fitted = FittedFields(fields, self.space, () if track_fit is None else track_fit.gives)
        self._check_posterior()
        self.describing = False
        self.late_names = ["features"]
        if response is not None:
            if self.scored.columns:
                raise ValueError(
                    f"task {name}: a response gives errors of its own, and loss: {self.loss_name} does too; keep one"
                )
            self._check_response(response)
            response.requires_grad_(False)  # until the second phase
            if hit_response is not None:
                self._check_given(hit_response)
                hit_response.requires_grad_(False)
            self.late_names = ["regr", "empty", *response.describes]
        elif hit_response is not None:
            raise ValueError(
                f"task {name}: hit_response is trained after a response, and there is none; set one, or leave it out"
            )
        elif track_fit is not None and not isinstance(track_fit, CORRECTED):
            kind = type(track_fit).__name__
            raise ValueError(f"task {name}: the results of {kind} need a response, such as hitpool.fits.FitResponse")
        gives = track_fit.gives if track_fit is not None and response is None else ()
        self.fit_features = [name for name in FIT_FEATURES if name in gives]
        size = dim + 8 * self.pooled_dim + len(self.fit_features) + self.fit_features.count("phi")
        width = size // 2 if regression_hidden_dim is None else regression_hidden_dim
        hidden = [width] * ((regression_num_layers or 1) - 1)
        self.raw_hit_net = Dense(len(hit_fields), self.pooled_dim, activation=activation)
        self.encoded_hit_net = Dense(dim, self.pooled_dim, activation=activation)
        self.regression_head = Dense(
            size,
            self.head_size,
            hidden_layers=hidden,
            dropout=dropout or 0.0,
            norm=layer_norm,
            activation=head_activation,
        )
        self._start(self.regression_head.last)
        if gives:  # at first the fit as it is
            nn.init.zeros_(self.regression_head.last.weight)
            nn.init.zeros_(self.regression_head.last.bias)

    def forward(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        """Regress from pooled hits.

        Raw fields, pooling and head run in the type of the layers under autocast too: bfloat16 coordinates have
        steps of 31 mm at 6 m. Raw fields of padded hits have no influence.

        Args:
            x: `<input_object>_embed` [B, N, D], `<input_hit>_embed` [B, M, D], `<input_hit>_valid` bool [B,
                M], and `<input_hit>_<field>` [B, M] under `inputs`.
            outputs: Outputs of the tasks that already ran, one of them with the logits.

        Returns:
            `<output_object>_regr` [B, N, K] in the learned space; with a trained response `<output_object>_error`
            [B, N, E] of q / pT, eta, phi, and of d0 and z0 if they are fields and fitted, in physical units, at least
            the spread of the targets for an object without hits, and `<output_object>_correlation` [B, N, 3] of q / pT
            with eta, q / pT with phi, and eta with phi; what it `revises`.

        Raises:
            ValueError: There are no logits, mean and spread of the targets, which a track fit needs at once, are not
                known, or `x` has no `inputs` or is that of a model of hepattn.
            KeyError: A raw field is missing.
            TypeError: The task was brought to a type below float32.
        """
        described = self._describe(x, outputs)
        kept = {self.late_key(name): described[name] for name in self.late_names} if self.describing else {}
        with torch.autocast(next(iter(described.values())).device.type, enabled=False):
            return self._regress(described) | kept

    def predict(self, outputs: dict[str, Tensor], query_mask: Tensor | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """Predictions in physical units, with errors and correlations of a trained response.

        They are called `<output_object>_<field>_error` and `<output_object>_qpt_eta_correlation`, likewise for q / pT
        with phi and eta with phi.
        """
        preds = super().predict(outputs, query_mask, **kwargs)
        if f"{self.output_object}_error" not in outputs:
            return preds
        values = {field: preds[f"{self.output_object}_{field}"] for field in self.fields}
        found = self.fitted.errors(
            values, outputs[f"{self.output_object}_error"], outputs[f"{self.output_object}_correlation"]
        )
        return preds | {f"{self.output_object}_{name}": value for name, value in found.items()}

    @property
    def predicted(self) -> list[str]:
        if self.response is None or not self.response.ready:
            return super().predicted
        return [*self.fields, *self.fitted.uncertainties]

    @property
    def outputs(self) -> list[str]:
        corrected = self.response and (self.response.ready or self.describing)
        errors = [f"{self.output_object}_{name}" for name in ("error", "correlation")] if corrected else []
        late = map(self.late_key, self.late_names) if self.describing else ()
        return [*super().outputs, *errors, *self.revises, *late]

    @property
    def revises(self) -> list[str]:
        """Outputs of earlier tasks that it replaces in the final layer.

        These are the logits, with a trained response and either `hit_posterior` or a trained `hit_response`.
        """
        if self.response is None or not self.response.ready:
            return []
        revised = self.hit_posterior or (self.hit_response is not None and self.hit_response.ready)
        return [self.logit_key] if revised else []

    @property
    def late_part(self) -> nn.Module | None:
        """What the second phase of a training fits: the response, or the head; None if the head corrects a fit."""
        if self.response is not None:
            return self.response
        return self.regression_head if self.track_fit is None else None

    def late_loss(self, kept: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Loss of `late_part` alone.

        Args:
            kept: Outputs named `<output_object>_late_...`, of P true objects [P, ...], made while `describing`.
            targets: `<target_object>_<field>` [P] of these objects, in physical units.
        """
        described = {name: kept[self.late_key(name)] for name in self.late_names}
        physical = torch.stack([targets[f"{self.target_object}_{field}"] for field in self.fields], dim=-1)  # [P, K]
        if self.response is not None:
            return self.response.loss(described, self.fitted.chosen(physical.double()))
        found = self._regress(described)
        learned = found[f"{self.output_object}_regr"]  # [P, K]
        return self.loss_weight * self._terms(learned, self._shape(found), physical).mean()

    def late_key(self, name: str) -> str:
        """Name of an output that is there while `describing`.

        Args:
            name: One of `late_names`.
        """
        return f"{self.output_object}_late_{name}"

    def _describe(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None) -> dict[str, Tensor]:
        """What is known of each object before `late_part` [B, N, ...]."""
        dtype = precise_dtype(self, f"task {self.name}")
        logits = self._logits(x, outputs or {})  # [B, N, M]
        self._check_shapes(x, logits)
        valid = x[f"{self.input_hit}_valid"]  # [B, M]
        queries = self.embeddings(x, self.input_object)  # [B, N, D]
        encoded = self.encoded_hit_net(self.embeddings(x, self.input_hit))  # [B, M, P]
        with torch.autocast(queries.device.type, enabled=False):
            raw = stack_fields(x["inputs"], self.input_hit, self.hit_fields, valid)  # [B, M, F]
            raw = self.raw_hit_net(raw.to(dtype))  # [B, M, P]
            features = torch.cat([raw, encoded.to(dtype)], dim=-1)  # [B, M, 2P]
            pooled = weighted_pool(logits, features, valid, threshold=self.assignment_threshold)  # [B, N, 4, 2P]
            raw_pooled, encoded_pooled = pooled.split(self.pooled_dim, dim=-1)
            described = torch.cat([queries, raw_pooled.flatten(-2), encoded_pooled.flatten(-2)], dim=-1)
            if self.track_fit is None:
                return {"features": described}
            if self.response is None:
                return {"features": described, **self.fit_tracks(x, logits)}
            learned = self.regression_head(described)  # [B, N, K]
            if not (self.response.ready or self.describing):
                return {"regr": learned}
            fit = self.fit_tracks(x, logits.detach())
            if self.hit_response is not None and self.hit_response.ready:
                logits = self.hit_response(self.hit_response.describe(fit, logits), fit["hit_taken"], logits)
                fit = self.fit_tracks(x, logits.detach())
            assigned = (logits.to(dtype).sigmoid() >= self.assignment_threshold) & valid.unsqueeze(1)  # [B, N, M]
            pooled = self.fitted.chosen(learned.double() * self.space.spread + self.space.mean)
            known = {"regr": learned, "empty": ~assigned.any(-1), **self.response.describe(fit, pooled)}
            if self.fitted.impact:
                known["impact"], known["impact_error"] = self.fitted.impact_of(fit)
            if self.hit_posterior:
                posterior = fit["posterior"].to(dtype).clamp(LEAST_POSTERIOR, 1 - LEAST_POSTERIOR)  # [B, N, M]
                logits = torch.where(assigned, (posterior / (1 - posterior)).log().to(logits.dtype), logits)
            return known | ({"logits": logits} if self.revises else {})

    def _regress(self, described: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs from what `_describe` gave."""
        name = f"{self.output_object}_regr"
        if self.response is None:
            features = described["features"]
            if self.track_fit is None:
                return self._named(self.regression_head(features))
            fit = [value for fitted in self.fit_features for value in _without_jump(fitted, described[fitted])]
            found = self._named(self.regression_head(torch.cat([features, torch.stack(fit, dim=-1)], dim=-1)))
            self.space.check_known(self.name)
            return found | {name: self.fitted.added(described, found[name])}
        learned = described["regr"]
        if "features" not in described:
            return {name: learned}
        estimate, error = self.response(described)  # [B, N, 3]
        correlation = self.response.correlation(described)
        unknown = described["empty"].unsqueeze(-1)  # nothing was measured, whatever the response has learned
        error = torch.where(unknown, torch.maximum(error, self.fitted.chosen(self.space.spread)), error)
        if "impact" in described:
            estimate = torch.cat([estimate, described["impact"]], dim=-1)  # [B, N, 5]
            error = torch.cat([error, described["impact_error"]], dim=-1)
        revised = {self.logit_key: described["logits"]} if "logits" in described else {}
        return {
            name: self.fitted.corrected(estimate, error, learned),
            f"{self.output_object}_error": error.to(learned.dtype),
            f"{self.output_object}_correlation": correlation.masked_fill(unknown, 0).to(learned.dtype),
            **revised,
        }

    def fit_tracks(self, x: Mapping[str, Any], logits: Tensor) -> dict[str, Tensor]:
        """Results of `track_fit` by quantity.

        Args:
            x: `<input_hit>_valid` bool [B, M], and `<input_hit>_<field>` [B, M] under `inputs`.
            logits: Assignment logits [B, N, M].

        Returns:
            [B, N], of hits [B, N, M].
        """
        assert self.track_fit is not None
        hits = stack_fields(x["inputs"], self.input_hit, self.track_fit.inputs)  # [B, M, F]
        return self.track_fit(hits, logits, x[f"{self.input_hit}_valid"], self.assignment_threshold)

    def _check_posterior(self) -> None:
        if not self.hit_posterior:
            return
        if self.response is None:
            raise ValueError(f"task {self.name}: hit_posterior comes with a response, and there is none; set one")
        if self.hit_response is not None:
            raise ValueError(f"task {self.name}: hit_response and hit_posterior both revise the hits; keep one")
        if self.track_fit is None or "posterior" not in self.track_fit.gives:
            kind = type(self.track_fit).__name__
            raise ValueError(f"task {self.name}: hit_posterior needs a fit that gives the posterior, got {kind}")

    def _check_response(self, response: FitResponse) -> None:
        if missing := [name for name in QUANTITIES if self.fitted.names.count(name) != 1]:
            raise ValueError(
                f"task {self.name}: a response corrects q / pT, eta and phi: expected one field each that ends in qpt, "
                f"eta and phi, got {self.fields}, {missing} not once"
            )
        self._check_given(response)

    def _check_given(self, part: FitResponse | HitResponse) -> None:
        given = () if self.track_fit is None else self.track_fit.gives
        if missing := [name for name in part.needs if name not in given]:
            raise ValueError(
                f"task {self.name}: {type(part).__name__} reads {missing} of the track fit, which "
                f"{type(self.track_fit).__name__} does not give; {part.advice}, or leave out {type(part).__name__}"
            )

    def _check_shapes(self, x: Mapping[str, Any], logits: Tensor) -> None:
        hit = self.input_hit
        read = {f"{self.input_object}_embed": "B N D", f"{hit}_embed": "B M D", f"{hit}_valid": "B M"}
        given = {name: (x[name], dimensions) for name, dimensions in read.items()}
        raw = x["inputs"]
        if not isinstance(raw, Hits):
            given |= {f"{hit}_{field}": (raw.get(f"{hit}_{field}"), "B M") for field in self.hit_fields}
        check_shapes(f"task {self.name}", given | {self.logit_key: (logits, "B N M")}, D=self.dim)

    def _logits(self, x: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        """Logits of the mask task."""
        if "key_valid" in x or "inputs" not in x:
            raise ValueError(
                f"task {self.name}: expected raw fields in x['inputs'], and no key_valid, got {sorted(x)}; inside "
                "hepattn, use hitpool.hepattn.tasks.WeightedPoolingObjectHitRegressionTask"
            )
        for done in outputs.values():
            if self.logit_key in done:
                return done[self.logit_key]
        raise ValueError(
            f"task {self.name}: no {self.logit_key}. An ObjectHitMaskTask with output_object: {self.output_object} and "
            f"the input {self.input_hit} must come before this task in the list of tasks; outputs before it: "
            f"{list(outputs)}"
        )


def _without_jump(name: str, value: Tensor) -> tuple[Tensor, ...]:
    """A result of a fit [B, N] as features: phi, which jumps at pi, by its cosine and sine."""
    return (value.cos(), value.sin()) if name == "phi" else (value,)
