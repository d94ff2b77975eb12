"""What would be used without the ops, written as well as PyTorch allows.

Those for `weighted_pool` take logits [B, N, M], features [B, M, D] and valid [B, M], and return mean, sum, max, min
[B, N, 4, D].
"""

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import hitpool
from hitpool.ops import reference

THRESHOLD = 0.1
COMPILED = ", compiled"
LARGEST = 8 * 2**30  # bytes that a way may need

Pool = Callable[[Tensor, Tensor, Tensor], Tensor]


def weights(logits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Which hits a track selects, and the probabilities of those, 0 for the others; both [B, N, M]."""
    p = logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
    selected = (p >= THRESHOLD) & valid.unsqueeze(-2)
    return selected, torch.where(selected, p, 0.0)


def expand(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Broadcasts to [B, N, M, D]."""
    selected, weight = weights(logits, valid)
    x = features.to(weight.dtype).unsqueeze(-3)  # [B, 1, M, D]
    total = (weight.unsqueeze(-1) * x).sum(-2)  # [B, N, D]
    return _join(weight, total, *_masked_extrema(selected, x), features.dtype)


def bmm(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Sums by matrix multiplication, masked maximum and minimum."""
    selected, weight = weights(logits, valid)
    total = torch.bmm(weight.to(features.dtype), features)  # [B, N, D]
    return _join(weight, total, *_masked_extrema(selected, features.unsqueeze(-3)), features.dtype)


def sparse(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Sums by matrix multiplication, maximum and minimum over the list of selected pairs."""
    selected, weight = weights(logits, valid)
    total = torch.bmm(weight.to(features.dtype), features)  # [B, N, D]
    rows, segment, _ = _selected_rows(selected, features)
    index = segment.unsqueeze(-1).expand_as(rows)  # [P, D]
    empty = features.new_zeros(total.shape).flatten(0, 1)  # [B N, D]
    extrema = (empty.scatter_reduce(0, index, rows, way, include_self=False).view_as(total) for way in ("amax", "amin"))
    return _join(weight, total, *extrema, features.dtype)


def segments(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Sums by matrix multiplication, `torch.segment_reduce` over the list of selected pairs."""
    selected, weight = weights(logits, valid)
    total = torch.bmm(weight.to(features.dtype), features)  # [B, N, D]
    rows, _, lengths = _selected_rows(selected, features)
    some = (lengths > 0).view(*total.shape[:2], 1)
    extrema = (torch.segment_reduce(rows, way, lengths=lengths, unsafe=True).view_as(total) for way in ("max", "min"))
    return _join(weight, total, *(torch.where(some, extremum, 0.0) for extremum in extrema), features.dtype)


def torch_geometric(logits: Tensor, features: Tensor, valid: Tensor) -> Tensor:
    """Aggregations of torch_geometric over the list of selected pairs."""
    from torch_geometric.nn.aggr import MultiAggregation, SumAggregation

    selected, weight = weights(logits, valid)
    rows, segment, _ = _selected_rows(selected, features)
    size = selected.shape[0] * selected.shape[1]
    weighted = weight[selected].to(rows.dtype).unsqueeze(-1) * rows  # [P, D]
    shape = *selected.shape[:2], features.shape[-1]
    total = SumAggregation()(weighted, segment, dim_size=size).view(shape)
    extrema = MultiAggregation(["max", "min"])(rows, segment, dim_size=size)  # [B N, 2 D]
    return _join(weight, total, *(extremum.reshape(shape) for extremum in extrema.chunk(2, -1)), features.dtype)


EAGER = {"hitpool": hitpool.weighted_pool, "expand": expand, "bmm": bmm, "sparse": sparse, "segments": segments}
if importlib.util.find_spec("torch_geometric"):
    EAGER["torch_geometric"] = torch_geometric
WAYS = (*EAGER, *(name + COMPILED for name in ("expand", "bmm", "sparse")))


def make(name: str) -> Pool:
    """The function of a way, compiled if its name says so; it gives the results and gradients of the reference.

    Args:
        name: One of `WAYS`.

    Raises:
        AssertionError: It does not.
    """
    pool = EAGER[name.removesuffix(COMPILED)]
    _check(pool)
    if pool is EAGER.get(name):
        return pool
    torch._dynamo.config.capture_dynamic_output_shape_ops = True  # one graph also for a list of selected pairs
    return torch.compile(pool, dynamic=False)


def is_too_large(name: str, shape: tuple[int, int, int, int], backward: bool) -> bool:
    """Whether a way builds tensors [B, N, M, D] that need more than 8 GiB."""
    events, tracks, hits, width = shape
    cells = 5 if backward else 1.5
    return name in ("expand", "bmm") and 4 * cells * events * tracks * hits * width > LARGEST


def eta_chain(theta: Tensor) -> Tensor:
    """Pseudorapidity in four operations, inaccurate near 0."""
    return -torch.log(torch.tan(theta / 2))


def torch_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """`hitpool.ops.attention` by `scaled_dot_product_attention`; query [B, Q, H, E], key and value [B, K, H, E]."""
    by_head = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return scaled_dot_product_attention(*by_head, None if mask is None else mask.unsqueeze(1)).transpose(1, 2)


def _check(pool: Pool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, 2, 50, generator=generator, dtype=torch.float64)
    logits[0, 0] = -9  # no hit
    features = torch.randn(3, 50, 4, generator=generator, dtype=torch.float64)
    valid = torch.rand(3, 50, generator=generator) < 0.9
    results = []
    for function in (pool, reference.weighted_pool):
        leaves = logits.clone().requires_grad_(), features.clone().requires_grad_()
        pooled = function(*leaves, valid)
        results.append((pooled, *torch.autograd.grad(pooled.square().sum(), leaves)))
    torch.testing.assert_close(*results)


def _masked_extrema(selected: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum and minimum [B, N, D] over the selected hits [B, N, M] of x [B, 1, M, D]; 0 without any."""
    chosen, some = selected.unsqueeze(-1), selected.any(-1, keepdim=True)
    highest = torch.where(chosen, x, -torch.inf).amax(-2)
    lowest = torch.where(chosen, x, torch.inf).amin(-2)
    return torch.where(some, highest, 0.0), torch.where(some, lowest, 0.0)


def _selected_rows(selected: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Feature rows [P, D] of the selected pairs, their track [P] among all B N, pairs of each track [B N]."""
    event, track, hit = selected.nonzero(as_tuple=True)
    hits, tracks = features.shape[1], selected.shape[1]
    rows = features.flatten(0, 1).index_select(0, event * hits + hit)
    return rows, event * tracks + track, selected.sum(-1).flatten()


def _join(weight: Tensor, total: Tensor, highest: Tensor, lowest: Tensor, dtype: torch.dtype) -> Tensor:
    mean = total / weight.sum(-1, keepdim=True).clamp_min(1e-8)
    return torch.stack([mean.to(dtype), total.to(dtype), highest.to(dtype), lowest.to(dtype)], -2)
