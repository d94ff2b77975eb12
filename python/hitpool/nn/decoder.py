"""Mask-attention decoder."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hitpool.nn.attention import Attention
from hitpool.nn.dense import Activation, Dense
from hitpool.nn.encoder import Norm
from hitpool.nn.task import Task


@dataclass
class DecoderLayerConfig:
    """Shape of a decoder layer.

    Args:
        dim: Features D of queries and hits.
        num_heads: Attention heads.
        hidden_dim_scale: Width of the feed-forward networks in units of `dim`.
        dropout: Probability of dropping attention weights and hidden features in training.
        norm: Kind of normalisation.
        bidirectional_ca: Update the hits too, by attention from hits to queries.
        activation: Of the feed-forward networks.
    """

    dim: int
    num_heads: int = 8
    hidden_dim_scale: int = 2
    dropout: float = 0.0
    norm: Norm = "LayerNorm"
    bidirectional_ca: bool = True
    activation: Activation = "silu"


class DecoderLayer(nn.Module):
    """Attention of queries to hits and among queries, feed-forward network; then the hits attend to queries.

    Args:
        config: Shape of the layer.
    """

    def __init__(self, config: DecoderLayerConfig) -> None:
        super().__init__()
        dim, heads, dropout = config.dim, config.num_heads, config.dropout

        def norm() -> nn.Module:
            return getattr(nn, config.norm)(dim)

        def dense() -> Dense:
            return Dense(
                dim, dim, hidden_dim_scale=config.hidden_dim_scale, dropout=dropout, activation=config.activation
            )

        self.query_hit_norm, self.query_hit = norm(), Attention(dim, heads, dropout)
        self.query_norm, self.query = norm(), Attention(dim, heads, dropout)
        self.query_dense_norm, self.query_dense = norm(), dense()
        self.bidirectional_ca = config.bidirectional_ca
        if self.bidirectional_ca:
            self.hit_query_norm, self.hit_query = norm(), Attention(dim, heads, dropout)
            self.hit_dense_norm, self.hit_dense = norm(), dense()

    def forward(
        self, queries: Tensor, hits: Tensor, hit_mask: Tensor, query_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Apply the layer.

        Args:
            queries: [B, N, D].
            hits: [B, M, D].
            hit_mask: bool [B, N, M], True where a query may attend to a hit.
            query_mask: bool [B, 1, N], True where a query may be attended to; None for everywhere.

        Returns:
            Updated queries [B, N, D] and hits [B, M, D].
        """
        queries = queries + self.query_hit(self.query_hit_norm(queries), hits, hit_mask)
        queries = queries + self.query(self.query_norm(queries), mask=query_mask)
        queries = queries + self.query_dense(self.query_dense_norm(queries))
        if self.bidirectional_ca:
            hits = hits + self.hit_query(self.hit_query_norm(hits), queries, query_mask)
            hits = hits + self.hit_dense(self.hit_dense_norm(hits))
        return queries, hits


class MaskFormerDecoder(nn.Module):
    """Queries, one per object slot, refined layer by layer against the hits.

    In front of each layer the tasks run on the present queries; with `mask_attention` a query then attends
    only to the hits which the mask task gives it, or to all hits if that would be none.

    Args:
        num_decoder_layers: Number of layers L.
        num_queries: Queries N, the number of object slots.
        decoder_layer_config: Shape of each layer.
        mask_attention: Restrict the attention from queries to hits by the masks of the tasks.
        dynamic_queries: The queries are given, by `hitpool.tasks.ObjectSeedTask`, not learned parameters.

    Source: Cheng et al., Masked-attention mask transformer (arXiv:2112.01527), section 3.2.
    """

    def __init__(
        self,
        num_decoder_layers: int,
        num_queries: int,
        decoder_layer_config: DecoderLayerConfig,
        mask_attention: bool = True,
        dynamic_queries: bool = False,
    ) -> None:
        super().__init__()
        self.dim = decoder_layer_config.dim
        self.num_queries = num_queries
        self.mask_attention = mask_attention
        self.dynamic_queries = dynamic_queries
        if not dynamic_queries:
            self.queries = nn.Parameter(torch.randn(num_queries, self.dim))
        self.layers = nn.ModuleList(DecoderLayer(decoder_layer_config) for _ in range(num_decoder_layers))

    def forward(
        self, x: dict[str, Any], tasks: Iterable[Task], input_name: str = "hit"
    ) -> tuple[dict[str, Any], dict[str, dict]]:
        """Refine the queries.

        Args:
            x: `<input_name>_embed` [B, M, D], `<input_name>_valid` bool [B, M], `query_embed` [B, N, D] if the queries
                are dynamic, and what the tasks need.
            tasks: Tasks, run in this order.
            input_name: Kind of input that the queries attend to.

        Returns:
            `x` with `query_embed` [B, N, D], the updated `<input_name>_embed` and, as `<input_name>_projections`, what
            tasks have computed from these alone, by task; and the outputs of the tasks as layer -> task -> name ->
            tensor, with the layers `layer_0` to `layer_<L-1>`.
        """
        embed, valid = f"{input_name}_embed", x[f"{input_name}_valid"]
        allowed = valid.unsqueeze(1)  # [B, 1, M]
        if not self.dynamic_queries:
            x = x | {"query_embed": self.queries.expand(valid.shape[0], -1, -1)}  # [B, N, D]
        x = x | {f"{input_name}_projections": {}}
        outputs: dict[str, dict] = {}
        for index, layer in enumerate(self.layers):
            done: dict[str, dict[str, Tensor]] = {}
            attend: list[Tensor] = []
            query_mask = None
            for task in tasks:
                if not task.should_run_at_layer(index):
                    continue
                done[task.name] = task(x, outputs=done)
                attend.extend(mask for key, mask in task.attn_mask(done[task.name]).items() if key == input_name)
                if (mask := task.query_mask(done[task.name])) is not None:
                    query_mask = (mask | ~mask.any(-1, keepdim=True)).unsqueeze(1)  # [B, 1, N], all if it is none
            hit_mask = allowed.expand(-1, self.num_queries, -1)  # [B, N, M]
            if self.mask_attention and attend:
                chosen = torch.stack(attend).any(0) & valid.unsqueeze(1)  # [B, N, M]
                hit_mask = torch.where(chosen.any(-1, keepdim=True), chosen, hit_mask)
            queries, hits = layer(x["query_embed"], x[embed], hit_mask, query_mask)
            if hits is not x[embed]:
                x = x | {embed: hits, f"{input_name}_projections": {}}
            x = x | {"query_embed": queries}
            outputs[f"layer_{index}"] = done
        return x, outputs
