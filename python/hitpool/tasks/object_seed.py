"""Which hits do objects begin with?"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import pad

from hitpool.nn.dense import Activation, Dense
from hitpool.nn.fields import stack_fields
from hitpool.nn.precision import at_least_float32
from hitpool.nn.shapes import check_shapes
from hitpool.tasks.base import Task


class ObjectSeedTask(Task):
    r"""Finds the first hit of each object, and makes the queries of a decoder with `dynamic_queries` from them.

    The logit of a hit is $f(\mathrm{hit}_m)$, learned by binary cross-entropy; true is the hit of each object with the
    lowest `order_field`. The queries `query_embed` are $h + g(h)$ of the encoded hits h with the highest logits, in
    their order. Networks f and g have one hidden layer.

    Args:
        name: Key of its outputs, losses and predictions.
        input_hit: Kind of hits: reads `<input_hit>_embed`, `<input_hit>_valid` and `<input_hit>_<order_field>`.
        target_object: Name of the true objects: `<target_object>_<input_hit>_valid` [B, N, M].
        order_field: Field by which the hits of an object follow each other, such as the distance from the beam.
        dim: Features D of the embeddings.
        num_queries: Number N of queries. In events with fewer hits the others begin with h = 0.
        loss_weight: Weight of the loss.
        cost_weight: Weight of the matching cost of a query that begins elsewhere; large enough, it decides, and the
            targets of a query are the same from the first step of a training on.
        activation: Of both networks.

    Source: Carion et al., End-to-end object detection with transformers (arXiv:2005.12872), for queries; those from
    the encoder: Zhu et al., Deformable DETR, section 4.2 (arXiv:2010.04159).
    """

    def __init__(
        self,
        name: str,
        input_hit: str,
        *,
        target_object: str,
        order_field: str,
        dim: int,
        num_queries: int,
        loss_weight: float = 1.0,
        cost_weight: float = 5.0,
        activation: Activation = "silu",
    ) -> None:
        super().__init__(name, dim, ["query_seed"], has_intermediate_loss=False)
        self.input_hit = input_hit
        self.target_object = target_object
        self.order_field = order_field
        self.num_queries = num_queries
        self.loss_weight = loss_weight
        self.cost_weight = cost_weight
        self.seed_net = Dense(dim, 1, activation=activation)
        self.query_net = Dense(dim, dim, activation=activation)

    def forward(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        """Logits of the hits [B, M], what orders them [B, M], seeds [B, N] and queries [B, N, D]; see `Task.forward`.

        A seed is the number of a hit, or that of a place behind all hits.
        """
        hits, valid = self.embeddings(x, self.input_hit), x[f"{self.input_hit}_valid"]  # [B, M, D], [B, M]
        given = {f"{self.input_hit}_embed": (hits, "B M D"), f"{self.input_hit}_valid": (valid, "B M")}
        check_shapes(f"task {self.name}", given)
        logit = self.seed_net(hits).squeeze(-1)  # [B, M]
        logit = logit.masked_fill(~valid, torch.finfo(logit.dtype).min)
        enough = pad(logit, self._behind, value=torch.finfo(logit.dtype).min)  # [B, M + N]
        seed = enough.topk(self.num_queries, dim=-1).indices  # [B, N]
        known = pad(hits.masked_fill(~valid.unsqueeze(-1), 0), (0, 0, *self._behind))
        chosen = known.gather(1, seed.unsqueeze(-1).expand(-1, -1, self.dim))  # [B, N, D]
        order = stack_fields(x["inputs"], self.input_hit, [self.order_field], valid).squeeze(-1)  # [B, M]
        return {
            f"{self.input_hit}_seed_logit": logit,
            f"{self.input_hit}_order": order,
            "query_seed": seed,
            "query_embed": chosen + self.query_net(chosen),
        }

    @property
    def gives_queries(self) -> bool:
        return True

    def predict(self, outputs: dict[str, Tensor], query_mask: Tensor | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """Probability that an object begins with a hit [B, M]; what orders the hits [B, M]; seeds [B, N]."""
        prob = at_least_float32(outputs[f"{self.input_hit}_seed_logit"]).sigmoid()
        kept = {name: outputs[name] for name in (f"{self.input_hit}_order", "query_seed")}
        return {f"{self.input_hit}_seed_prob": prob} | kept

    def loss(
        self, outputs: dict[str, Tensor], targets: dict[str, Tensor], layer_outputs: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        valid = targets[f"{self.input_hit}_valid"]  # [B, M]
        logit = at_least_float32(outputs[f"{self.input_hit}_seed_logit"])[valid]
        begins = self._first(outputs, targets).any(1)[valid]
        return {"seed_bce": self.loss_weight * bce(logit, begins.to(logit.dtype), reduction="sum") / max(1, len(logit))}

    def cost(self, outputs: dict[str, Tensor], targets: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """0 where a query's seed is the first hit of a target, half of the weight for another one of its hits."""
        seed = outputs["query_seed"].unsqueeze(1).expand(-1, self.num_queries, -1)  # [B, target, query]
        belongs = pad(targets[f"{self.target_object}_{self.input_hit}_valid"], self._behind).gather(2, seed)
        first = pad(self._first(outputs, targets), self._behind).gather(2, seed)  # [B, target, query]
        return {"seed": self.cost_weight * (1 - (belongs.float() + first.float()) / 2).mT}

    def metrics(self, preds: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Seed efficiency, the share of the objects whose first hit is the seed of a query."""
        first = self._first(preds, targets)  # [B, N, M]
        seed = preds["query_seed"].unsqueeze(1).expand(-1, first.shape[1], -1)
        seeded = pad(first, self._behind).gather(2, seed).any(-1)  # [B, N]
        true = first.any(-1)
        return {"seed_efficiency": seeded.sum() / true.sum()} if true.any() else {}

    @property
    def _behind(self) -> tuple[int, int]:
        """Padding by places behind the hits, for seeds in events of few."""
        return 0, self.num_queries

    def _first(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Whether an object begins with a hit, bool [B, N, M]."""
        belongs = targets[f"{self.target_object}_{self.input_hit}_valid"]  # [B, N, M]
        order = outputs[f"{self.input_hit}_order"].unsqueeze(1).masked_fill(~belongs, torch.inf)
        lowest = order.amin(-1, keepdim=True) if order.shape[-1] else order
        return belongs & (order == lowest)
