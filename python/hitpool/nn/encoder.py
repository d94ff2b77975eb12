"""Transformer encoder."""

from typing import Literal

from torch import Tensor, nn

from hitpool.nn.attention import Attention
from hitpool.nn.dense import Activation, Dense
from hitpool.nn.window import Window

Norm = Literal["LayerNorm", "RMSNorm"]


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward network, each behind a norm and added to its input.

    Args:
        dim: Features D.
        num_heads: Attention heads.
        hidden_dim_scale: Width of the feed-forward network in units of `dim`.
        dropout: Probability of dropping attention weights and hidden features in training.
        norm: Kind of normalisation.
        activation: Of the feed-forward network.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        hidden_dim_scale: int = 2,
        dropout: float = 0.0,
        norm: Norm = "LayerNorm",
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        self.attention_norm = getattr(nn, norm)(dim)
        self.attention = Attention(dim, num_heads, dropout)
        self.dense_norm = getattr(nn, norm)(dim)
        self.dense = Dense(dim, dim, hidden_dim_scale=hidden_dim_scale, dropout=dropout, activation=activation)

    def forward(self, x: Tensor, mask: Tensor | None = None, window: Window | None = None) -> Tensor:
        """Apply the layer.

        Args:
            x: [B, M, D].
            mask: bool [B, 1, M], True where attention is allowed.
            window: Instead of it, attention to neighbours.

        Returns:
            [B, M, D].
        """
        x = x + self.attention(self.attention_norm(x), mask=mask, window=window)
        return x + self.dense(self.dense_norm(x))


class Encoder(nn.Module):
    """Transformer encoder with the norm in front of each block and one at the end.

    Args:
        num_layers: Number of layers.
        dim: Features D.
        num_heads: Attention heads per layer.
        hidden_dim_scale: Width of the feed-forward networks in units of `dim`.
        dropout: Probability of dropping attention weights and hidden features in training.
        norm: Kind of normalisation; on CPU torch's LayerNorm is faster than its RMSNorm.
        activation: Of the feed-forward networks.
        window_size: Hits attend to this many neighbours, one half on each side, of an order in which the hits then have
            to be given, see `hitpool.nn.MaskFormer`; None for all hits. Even.
        window_wrap: The order is that of an angle: the first hits are neighbours of the last ones.

    Raises:
        ValueError: A number is outside its range.

    Source: Xiong et al., On layer normalization in the transformer architecture (arXiv:2002.04745).
    """

    def __init__(
        self,
        num_layers: int,
        dim: int,
        num_heads: int = 8,
        hidden_dim_scale: int = 2,
        dropout: float = 0.0,
        norm: Norm = "LayerNorm",
        activation: Activation = "silu",
        window_size: int | None = None,
        window_wrap: bool = False,
    ) -> None:
        super().__init__()
        if num_layers < 0:
            raise ValueError(f"Encoder: num_layers must be at least 0, got {num_layers}")
        if window_size is not None and (window_size < 2 or window_size % 2):
            raise ValueError(f"Encoder: window_size must be even and at least 2, got {window_size}")
        self.dim = dim
        self.window_size = window_size
        self.window_wrap = window_wrap
        self.layers = nn.ModuleList(
            EncoderLayer(dim, num_heads, hidden_dim_scale, dropout, norm, activation) for _ in range(num_layers)
        )
        self.norm = getattr(nn, norm)(dim)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Encode the hits of a batch.

        Args:
            x: Embeddings [B, M, D].
            valid: bool [B, M], False at padded hits; whatever these hold, they influence nothing. With `window_size`
                they come behind all others.

        Returns:
            Encoded hits [B, M, D].
        """
        x = x.masked_fill(~valid.unsqueeze(-1), 0)
        window = None if self.window_size is None else Window(valid, self.window_size, self.window_wrap)
        mask = valid.unsqueeze(1) if window is None else None  # [B, 1, M]
        for layer in self.layers:
            x = layer(x, mask, window)
        return self.norm(x)
