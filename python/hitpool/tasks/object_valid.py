"""Does an object slot hold an object?"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hitpool.nn.dense import Activation, Dense
from hitpool.nn.losses import OBJECT_COSTS, OBJECT_LOSSES
from hitpool.nn.precision import at_least_float32
from hitpool.nn.shapes import check_shapes
from hitpool.tasks.base import Task, check_terms


class ObjectValidTask(Task):
    """Probability that an object slot holds a true object.

    Args:
        name: Key of its outputs, losses and predictions.
        input_object: Reads `<input_object>_embed`.
        output_object: Name of the predicted objects: `<output_object>_logit` [B, N].
        target_object: Name of the true objects: `<target_object>_valid` [B, N].
        losses: Weight of each loss: `object_bce`.
        costs: Weight of each matching cost: `object_bce`.
        dim: Features D of the embeddings.
        null_weight: Weight of empty slots in the loss.
        mask_queries: Hide slots predicted as empty from the others in the decoder.
        activation: Of the network.
    """

    def __init__(
        self,
        name: str,
        input_object: str,
        output_object: str,
        target_object: str,
        losses: dict[str, float],
        costs: dict[str, float],
        dim: int,
        null_weight: float = 1.0,
        mask_queries: bool = False,
        activation: Activation = "silu",
    ) -> None:
        super().__init__(name, dim, [f"{output_object}_logit"], has_intermediate_loss=True)
        check_terms(name, "losses", losses, OBJECT_LOSSES)
        check_terms(name, "costs", costs, OBJECT_COSTS)
        self.input_object = input_object
        self.output_object = output_object
        self.target_object = target_object
        self.losses = losses
        self.costs = costs
        self.null_weight = null_weight
        self.mask_queries = mask_queries
        self.net = Dense(dim, 1, activation=activation)

    def forward(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        return {f"{self.output_object}_logit": self.net(self.embeddings(x, self.input_object)).squeeze(-1)}

    def predict(self, outputs: dict[str, Tensor], query_mask: Tensor | None = None, **kwargs: Any) -> dict[str, Tensor]:
        prob = at_least_float32(outputs[f"{self.output_object}_logit"]).sigmoid()  # [B, N]
        valid = prob >= 0.5
        if query_mask is not None:
            valid = valid & query_mask
        return {f"{self.output_object}_valid": valid, f"{self.output_object}_valid_prob": prob}

    def loss(
        self, outputs: dict[str, Tensor], targets: dict[str, Tensor], layer_outputs: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        logit, target = self._logit_and_target(outputs, targets)
        weight = torch.where(target, 1.0, self.null_weight)
        return {name: scale * OBJECT_LOSSES[name](logit, target, weight) for name, scale in self.losses.items()}

    def cost(self, outputs: dict[str, Tensor], targets: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        logit, target = self._logit_and_target(outputs, targets)
        return {name: scale * OBJECT_COSTS[name](logit, target) for name, scale in self.costs.items()}

    def _logit_and_target(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logit, target = outputs[f"{self.output_object}_logit"], targets[f"{self.target_object}_valid"]
        given = {f"{self.target_object}_valid": (target, "B N"), f"{self.output_object}_logit": (logit, "B N")}
        check_shapes(f"task {self.name}", given)
        return logit, target

    @property
    def guides_decoder(self) -> bool:
        return self.mask_queries

    def query_mask(self, outputs: dict[str, Tensor]) -> Tensor | None:
        return outputs[f"{self.output_object}_logit"] >= 0 if self.mask_queries else None

    def metrics(self, preds: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Efficiency and fake rate.

        Efficiency is the share of the true objects whose slot is predicted valid, fake rate that of the slots
        predicted valid which are empty.
        """
        pred = preds[f"{self.output_object}_valid"]
        true = targets[f"{self.target_object}_valid"]
        metrics = {}
        if true.any():
            metrics["efficiency"] = pred[true].float().mean()
        if pred.any():
            metrics["fake_rate"] = 1 - true[pred].float().mean()
        return metrics
