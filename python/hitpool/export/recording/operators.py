"""The ops of hitpool, and layers of networks, in functions that can be recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hitpool.export.recording.recorder import Function, RecordError
from hitpool.fits.field import BoxToroid, TabulatedField
from hitpool.fits.geometry import Geometry
from hitpool.fits.solenoid import SolenoidFit
from hitpool.fits.toroid import ToroidFit
from hitpool.nn.window import Blocks


def weighted_pool(logits: Tensor, features: Tensor, valid: Tensor | None = None, *, threshold: float = 0.1) -> Tensor:
    """`hitpool.weighted_pool` by matrix products, in which a hit that is not selected counts 0 whatever it holds.

    Args:
        logits: [..., N, M].
        features: [..., M, D].
        valid: bool [..., M].
        threshold: Least probability of a selected hit.

    Returns:
        [..., N, 4, D].
    """
    double = torch.float64 in (logits.dtype, features.dtype)
    p = logits.to(torch.float64 if double else torch.float32).sigmoid()  # [..., N, M]
    x = features.to(p.dtype)  # [..., M, D]
    selected = ~(p < threshold)  # NaN is selected
    if valid is not None:
        selected = selected & valid.unsqueeze(-2)
    weight = torch.where(selected, p, 0.0)
    chosen = selected.to(p.dtype)

    def among_selected(wanted: Tensor) -> Tensor:
        return chosen @ wanted.to(p.dtype) > 0  # [..., N, D]

    total = weight @ torch.where(x.isfinite(), x, 0.0)  # [..., N, D]
    total = total + torch.where(among_selected(x == math.inf), math.inf, 0.0)
    total = total + torch.where(among_selected(x == -math.inf), -math.inf, 0.0)
    weight_sum = weight.sum(-1, keepdim=True)  # [..., N, 1]
    unknown = among_selected(x.isnan()) | weight_sum.isnan()
    total = torch.where(unknown, math.nan, total)
    mean = total / weight_sum.clamp(min=1e-8)
    found = (chosen.sum(-1, keepdim=True) > 0) & ~unknown

    def extreme(sign: float) -> Tensor:
        candidates = torch.where(selected.unsqueeze(-1), (sign * x).unsqueeze(-3), -math.inf)  # [..., N, M, D]
        return torch.where(found, sign * candidates.amax(-2), torch.where(unknown, math.nan, 0.0))

    return torch.stack([mean, total, extreme(1.0), extreme(-1.0)], dim=-2).to(features.dtype)


def pseudorapidity(theta: Tensor) -> Tensor:
    r"""`hitpool.pseudorapidity` as $\mathrm{arsinh} \cot\theta$ in float64, which is accurate near 0 too.

    As accurate as float32; in float64 to 1e-15 / sin(theta), as sine and cosine of onnxruntime are.

    Args:
        theta: Any shape.
    """
    wide = theta.double()
    pi = torch.tensor(math.pi, dtype=theta.dtype).item()
    sine = wide.sin()
    eta = (wide.cos() / sine).asinh()
    eta = torch.where(wide < 1e-8, math.log(2) - wide.log(), eta)
    eta = torch.where(wide == pi, -math.inf, eta)
    return torch.where((wide >= 0) & (wide <= pi), eta, math.nan).to(theta.dtype)


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, window: int = 0, wrap: bool = False
) -> Tensor:
    """`hitpool.ops.attention` with a tensor of all scores.

    Args:
        query: [B, Q, H, E].
        key: [B, K, H, E].
        value: [B, K, H, E].
        mask: bool [B, 1 or Q, K].
        window: Width of the window; what the mask [B, 1, K] allows then comes first.
        wrap: Whether it goes around.

    Returns:
        [B, Q, H, E].
    """
    if window:
        assert mask is not None
        blocks = Blocks(mask.squeeze(1), window, wrap)
        return blocks.hits_of(attention(*blocks.split(torch.stack([query, key, value], 2)), blocks.mask))
    heads = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    return scaled_dot_product_attention(*heads, None if mask is None else mask.unsqueeze(1)).transpose(1, 2)


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0
) -> Tensor:
    """Attention [..., Q, E] to finite keys [..., K, E]; 0 where none is allowed."""
    if dropout_p:
        raise RecordError("dropout of attention cannot be recorded; call eval()")
    scores = (query * query.shape[-1] ** -0.5) @ key.mT  # [..., Q, K]
    if attn_mask is None:
        return scores.softmax(-1) @ value
    allowed = attn_mask.any(-1, keepdim=True)
    barred = torch.where(attn_mask | ~allowed, 0.0, -math.inf).to(scores.dtype)  # no NaN where none is allowed
    return torch.where(allowed, (scores + barred).softmax(-1) @ value, 0.0)


def toroid_fit(
    hits: Tensor,
    logits: Tensor,
    valid: Tensor | None,
    geometry: list[float],
    field: list[float],
    table: list[Tensor],
    *,
    threshold: float = 0.1,
    max_hits: int = 64,
) -> tuple[Tensor, Tensor]:
    """`hitpool.ops.toroid_fit` by the definition of the fit; see there."""
    fit = ToroidFit(geometry=Geometry.of(geometry), max_hits=max_hits)
    if len(table) > 1:
        r_grid, z_grid, phi_grid, values = table
        mapped = TabulatedField(r_grid, z_grid, phi_grid, mirrored=bool(field[1]))
        mapped.values = values
        fit.field = mapped  # type: ignore[assignment]
    else:
        barrel, endcap, a, b, c, d, e, f, g, softness = field
        fit.field = BoxToroid(barrel, endcap, (a, b, c), (d, e, f, g), softness)
    return fit.definition(hits, logits, valid, threshold)


def solenoid_fit(
    hits: Tensor,
    logits: Tensor,
    valid: Tensor | None,
    field: float,
    radiation_lengths: float,
    beam_spot: list[float],
    *,
    threshold: float = 0.1,
    max_hits: int = 16,
) -> tuple[Tensor, Tensor]:
    """`hitpool.ops.solenoid_fit` by the definition of the fit; see there."""
    across, along = beam_spot
    fit = SolenoidFit(field, radiation_lengths=radiation_lengths, beam_spot=(across, along), max_hits=max_hits)
    return fit.definition(hits, logits, valid, threshold)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product = x @ weight.t()
    return product if bias is None else product + bias


def rms_norm(
    x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    if len(normalized_shape) != 1:
        raise RecordError("rms_norm of several dimensions cannot be recorded")
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    scaled = x * (x.square().mean(-1, keepdim=True) + eps).rsqrt()
    return scaled if weight is None else scaled * weight


def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if training:
        raise RecordError("dropout in training cannot be recorded; call eval()")
    return x


COMPOSITES: dict[str, Function] = {
    "weighted_pool": weighted_pool,
    "pseudorapidity": pseudorapidity,
    "attention": attention,
    "toroid_fit": toroid_fit,
    "solenoid_fit": solenoid_fit,
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "linear": linear,
    "rms_norm": rms_norm,
    "dropout": dropout,
    "silu": lambda x, inplace=False: x * x.sigmoid(),
}
