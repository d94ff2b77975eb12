"""Which hits belong to an object?"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hitpool.nn.dense import Activation, Dense
from hitpool.nn.losses import MASK_COSTS, MASK_LOSSES
from hitpool.nn.precision import at_least_float32
from hitpool.nn.shapes import check_shapes
from hitpool.tasks.base import Task, check_terms


class ObjectHitMaskTask(Task):
    r"""Assignment of hits to objects: the logit is the product of a query and a hit vector.

    $\mathrm{logit}_{nm} = f(\mathrm{query}_n) \cdot g(\mathrm{hit}_m)$ with two networks f and g. Padded hits
    have the lowest value of the dtype.

    Args:
        name: Key of its outputs, losses and predictions.
        input_hit: Kind of hits: reads `<input_hit>_embed` and `<input_hit>_valid`.
        input_object: Reads `<input_object>_embed`.
        output_object: Name of the predicted objects: `<output_object>_<input_hit>_logit` [B, N, M].
        target_object: Name of the true objects: `<target_object>_<input_hit>_valid` [B, N, M].
        losses: Weight of each loss: `mask_bce`, `mask_focal`, `mask_dice`.
        costs: Weight of each matching cost: `mask_bce`, `mask_focal`, `mask_dice`.
        dim: Features D of the embeddings.
        null_weight: Weight of empty slots in the losses.
        mask_attn: Queries attend to their hits only, in decoders with `mask_attention`.
        pred_threshold: Probability from which a hit is predicted to belong to an object.
        mask_attn_threshold: Probability from which a query attends to a hit.
        activation: Of both networks.

    Raises:
        ValueError: A loss or cost does not exist.

    Source: Cheng et al., Per-pixel classification is not all you need (arXiv:2107.06278).
    """

    def __init__(
        self,
        name: str,
        input_hit: str,
        *,
        input_object: str,
        output_object: str,
        target_object: str,
        losses: dict[str, float],
        costs: dict[str, float],
        dim: int,
        null_weight: float = 1.0,
        mask_attn: bool = True,
        pred_threshold: float = 0.5,
        mask_attn_threshold: float = 0.1,
        activation: Activation = "silu",
    ) -> None:
        super().__init__(name, dim, [f"{output_object}_{input_hit}_logit"], has_intermediate_loss=True)
        check_terms(name, "losses", losses, MASK_LOSSES)
        check_terms(name, "costs", costs, MASK_COSTS)
        self.input_hit = input_hit
        self.input_object = input_object
        self.output_object_hit = f"{output_object}_{input_hit}"
        self.target_object = target_object
        self.losses = losses
        self.costs = costs
        self.null_weight = null_weight
        self.mask_attn = mask_attn
        self.pred_threshold = pred_threshold
        self.mask_attn_threshold = mask_attn_threshold
        self.object_net = Dense(dim, dim, activation=activation)
        self.hit_net = Dense(dim, dim, activation=activation)

    def forward(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        objects = self.object_net(self.embeddings(x, self.input_object))  # [B, N, D]
        hits = self._projected_hits(x)  # [B, M, D]
        valid = x[f"{self.input_hit}_valid"]  # [B, M]
        embedded = {f"{self.input_hit}_embed": (hits, "B M D"), f"{self.input_object}_embed": (objects, "B N D")}
        check_shapes(f"task {self.name}", embedded | {f"{self.input_hit}_valid": (valid, "B M")})
        logit = objects @ hits.mT  # [B, N, M]
        padded = ~valid.unsqueeze(-2)  # [B, 1, M]
        return {f"{self.output_object_hit}_logit": logit.masked_fill(padded, torch.finfo(logit.dtype).min)}

    def _projected_hits(self, x: dict[str, Any]) -> Tensor:
        known: dict[str, Tensor] = x.get(f"{self.input_hit}_projections", {})
        if self.name not in known:
            known[self.name] = self.hit_net(self.embeddings(x, self.input_hit))
        return known[self.name]

    def predict(self, outputs: dict[str, Tensor], query_mask: Tensor | None = None, **kwargs: Any) -> dict[str, Tensor]:
        prob = at_least_float32(outputs[f"{self.output_object_hit}_logit"]).sigmoid()  # [B, N, M]
        valid = prob >= self.pred_threshold
        if query_mask is not None:
            valid = valid & query_mask.unsqueeze(-1)
        return {f"{self.output_object_hit}_valid": valid, f"{self.output_object_hit}_valid_prob": prob}

    def loss(
        self, outputs: dict[str, Tensor], targets: dict[str, Tensor], layer_outputs: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        logit, target, valid = self._logit_and_target(outputs, targets)
        weight = torch.where(targets[f"{self.target_object}_valid"], 1.0, self.null_weight).unsqueeze(-1)  # [B, N, 1]
        return {name: scale * MASK_LOSSES[name](logit, target, valid, weight) for name, scale in self.losses.items()}

    def cost(self, outputs: dict[str, Tensor], targets: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        logit, target, valid = self._logit_and_target(outputs, targets)
        return {name: scale * MASK_COSTS[name](logit, target, valid) for name, scale in self.costs.items()}

    def _logit_and_target(
        self, outputs: dict[str, Tensor], targets: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        logit = outputs[f"{self.output_object_hit}_logit"]
        target = targets[f"{self.target_object}_{self.input_hit}_valid"]
        valid = targets[f"{self.input_hit}_valid"]
        given = {
            f"{self.input_hit}_valid": (valid, "B M"),
            f"{self.target_object}_{self.input_hit}_valid": (target, "B N M"),
            f"{self.output_object_hit}_logit": (logit, "B N M"),
        }
        check_shapes(f"task {self.name}", given)
        return logit, target, valid.unsqueeze(-2)

    @property
    def guides_decoder(self) -> bool:
        return self.mask_attn

    def attn_mask(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if not self.mask_attn:
            return {}
        prob = at_least_float32(outputs[f"{self.output_object_hit}_logit"].detach()).sigmoid()
        return {self.input_hit: prob >= self.mask_attn_threshold}

    def metrics(self, preds: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Hit efficiency and purity of the slots with a true object.

        Efficiency is the share of the true hits that are found, purity that of the found hits that are true.
        """
        valid = targets[f"{self.target_object}_valid"]
        pred = preds[f"{self.output_object_hit}_valid"][valid]  # [P, M]
        true = targets[f"{self.target_object}_{self.input_hit}_valid"][valid]
        metrics = {}
        if true.any():
            metrics["hit_efficiency"] = pred[true].float().mean()
        if pred.any():
            metrics["hit_purity"] = true[pred].float().mean()
        return metrics
