from __future__ import annotations

import torch
from torch import Tensor

from hitpool.ops.arguments import check_tensors

HEAD_SIZES = (4, 8)


def attention(
    query: Tensor,  # [B, Q, H, E]
    key: Tensor,  # [B, K, H, E]
    value: Tensor,  # [B, K, H, E]
    mask: Tensor | None = None,  # [B, 1 or Q, K]
    window: int = 0,
    wrap: bool = False,
) -> Tensor:  # [B, Q, H, E]
    """Attention with heads of few features on CPU: softmax(q k^T / sqrt(E)) v for each head.

    The matrix products of such heads are too thin for `torch.nn.functional.scaled_dot_product_attention`; the result is
    the same. No [B, H, Q, K] tensor is built, forward or backward. On other devices than CPU there is no gradient.

    Args:
        query: [B, Q, H, E] with E in `HEAD_SIZES`, float32 or float64; the last dimension is best contiguous.
        key: [B, K, H, E].
        value: [B, K, H, E].
        mask: True where attention is allowed, [B, 1 or Q, K] bool; None for everywhere.
        window: With a number other than 0, which is even, queries and keys are the same hits, and those that the mask
            [B, 1, K] allows are in an order: each attends to itself and half as many before it and behind it. Memory
            and the number of scores are linear in the number of hits.
        wrap: The order is that of an angle: the first hits follow the last ones. None is seen twice.

    Returns:
        [B, Q, H, E]; 0 for queries that may attend to nothing.

    Raises:
        TypeError: no tensor, unsupported dtype, or a tensor that is not dense.
        ValueError: shapes or devices that do not fit, an odd or negative window, or one without a mask [B, 1, K].

    Source: Vaswani et al., Attention is all you need, section 3.2 (arXiv:1706.03762); softmax in one pass: Milakov and
    Gimelshein, Online normalizer calculation for softmax (arXiv:1805.02867); windows: Beltagy et al., Longformer,
    section 3.1 (arXiv:2004.05150).

    Example:
        >>> import torch
        >>> from hitpool.ops.attention import attention
        >>> query, key = torch.zeros(1, 1, 1, 4), torch.rand(1, 2, 1, 4)
        >>> value = torch.tensor([[1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0]]).view(1, 2, 1, 4)
        >>> attention(query, key, value).flatten()  # equal scores: the mean
        tensor([2., 3., 4., 5.])
    """
    if not torch.jit.is_scripting():
        check_tensors("attention", {"query": query, "key": key, "value": value}, {"mask": mask})
    attended: Tensor = torch.ops.hitpool.attention(query, key, value, mask, window, wrap)
    return attended
