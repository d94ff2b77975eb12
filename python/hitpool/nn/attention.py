"""Multi-head attention."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from hitpool.nn.window import Window
from hitpool.ops.attention import HEAD_SIZES, attention


class Attention(nn.Module):
    """Multi-head attention with one fused projection of queries, keys and values.

    Allocates no [B, H, M, M] tensor. Heads of 4 or 8 features on CPU, without dropout, go through
    `hitpool.ops.attention`; everything else through torch's `scaled_dot_product_attention`.

    Args:
        dim: Features D of queries, keys and output.
        num_heads: Heads H; divides `dim`.
        dropout: Probability of dropping an attention weight in training.

    Source: Vaswani et al., Attention is all you need, section 3.2 (arXiv:1706.03762).
    """

    def __init__(self, dim: int, num_heads: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"Attention: dim = {dim} is not a multiple of num_heads = {num_heads}")
        self.dim = dim
        self.head = (num_heads, dim // num_heads)
        self.dropout = dropout
        self.in_proj = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, keys: Tensor | None = None, mask: Tensor | None = None, window: Window | None = None
    ) -> Tensor:
        """Attend from `x` to `keys`.

        Args:
            x: [B, Q, D].
            keys: [B, K, D]; None for self-attention.
            mask: bool [B, 1 or Q, K], True where attention is allowed; None for everywhere.
            window: Instead of both, self-attention to neighbours.

        Returns:
            [B, Q, D]; where no attention is allowed, `out_proj` of 0, as without any keys.
        """
        if keys is None:
            projected = self.in_proj(x).unflatten(-1, (3, *self.head))  # [B, Q, 3, H, D/H]
            if window is not None:
                return self.out_proj(self._in_window(projected, window).flatten(-2))
            q, k, v = projected.unbind(2)  # [B, Q, H, D/H]
        else:
            w_q, w_kv = self.in_proj.weight.split([self.dim, 2 * self.dim])
            b_q, b_kv = self.in_proj.bias.split([self.dim, 2 * self.dim])
            q = linear(x, w_q, b_q).unflatten(-1, self.head)
            k, v = linear(keys, w_kv, b_kv).unflatten(-1, (2, *self.head)).unbind(2)  # [B, K, H, D/H]
        return self.out_proj(self._attend(q, k, v, mask).flatten(-2))

    def _in_window(self, projected: Tensor, window: Window) -> Tensor:
        if self._suits(projected):
            q, k, v = projected.unbind(2)  # [B, M, H, D/H]
            return attention(q, k, v, window.valid.unsqueeze(1), window.size, window.wrap)
        blocks = window.blocks
        return blocks.hits_of(self._attend(*blocks.split(projected), blocks.mask))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return attention(q, k, v, mask) if self._suits(q) else self._torch(q, k, v, mask)

    def _torch(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of torch [B, Q, H, D/H], 0 in rows that allow nothing, of which a softmax would be NaN."""
        dropout = self.dropout if self.training else 0.0
        q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))  # [B, H, Q or K, D/H]
        if mask is None:
            return scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2)
        empty = ~mask.any(-1, keepdim=True)  # [B, 1 or Q, 1]
        out = scaled_dot_product_attention(q, k, v, (mask | empty).unsqueeze(1), dropout_p=dropout)
        return out.transpose(1, 2).masked_fill(empty.unsqueeze(-1), 0)

    def _suits(self, x: Tensor) -> bool:
        """Whether the compiled op takes queries of this device and dtype."""
        known = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and self.head[1] in HEAD_SIZES
        return known and not (self.training and self.dropout)
