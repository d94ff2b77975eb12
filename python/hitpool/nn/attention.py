"""Multi-head attention."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

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

    def forward(self, x: Tensor, keys: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Attend from `x` to `keys`.

        Args:
            x: [B, Q, D].
            keys: [B, K, D]; None for self-attention.
            mask: bool [B, 1 or Q, K], True where attention is allowed; at least once in each row.

        Returns:
            [B, Q, D].
        """
        if keys is None:
            q, k, v = self.in_proj(x).unflatten(-1, (3, *self.head)).unbind(2)  # [B, Q, H, D/H]
        else:
            w_q, w_kv = self.in_proj.weight.split([self.dim, 2 * self.dim])
            b_q, b_kv = self.in_proj.bias.split([self.dim, 2 * self.dim])
            q = linear(x, w_q, b_q).unflatten(-1, self.head)
            k, v = linear(keys, w_kv, b_kv).unflatten(-1, (2, *self.head)).unbind(2)  # [B, K, H, D/H]
        dropout = self.dropout if self.training else 0.0
        if self._suits(q) and not dropout:
            out = attention(q, k, v, mask)
        else:
            q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))  # [B, H, Q or K, D/H]
            mask = None if mask is None else mask.unsqueeze(1)  # [B, 1, 1 or Q, K]
            out = scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout).transpose(1, 2)
        return self.out_proj(out.flatten(-2))

    def _suits(self, q: Tensor) -> bool:
        return q.device.type == "cpu" and q.dtype in (torch.float32, torch.float64) and self.head[1] in HEAD_SIZES
