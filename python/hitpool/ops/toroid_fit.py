from __future__ import annotations

import torch
from torch import Tensor

from hitpool.ops.arguments import check_tensors


def toroid_fit(
    hits: Tensor,  # [B, M, 10]
    logits: Tensor,  # [B, N, M]
    valid: Tensor | None,  # [B, M]
    geometry: list[float],
    field: list[float],
    table: list[Tensor],
    threshold: float = 0.1,
    max_hits: int = 64,
) -> tuple[Tensor, Tensor]:  # [B, N, 10], [B, N, 6, M]
    """The whole annealed fit of `hitpool.fits.ToroidFit` on CPU, track by track, without derivative.

    Tensors on a CUDA device are copied to the CPU and the results back, so that an exported model, which holds this op,
    runs there too. In Python, `hitpool.fits.ToroidFit` computes on the device by PyTorch instead.

    Args:
        hits: x, y, z of both ends of the wire or strip in m, drift radius in m, its variance (for strips that of the
            measured coordinate) and the variance along the wire in m^2, 1 for drift tubes and 0 for strips, [B, M, 10]
            float64.
        logits: Assignment logits [B, N, M] float64.
        valid: bool [B, M], False at padded hits, which may hold anything; None for no padding.
        geometry: The 11 numbers of `hitpool.fits.Geometry`.
        field: The 10 numbers of `hitpool.fits.BoxToroid`; with a table its period in rad, and 1 if it is mirrored at
            z = 0, else 0.
        table: Nothing or one tensor without elements; or r [R], z [Z], phi [P] and B [R, Z, P] of
            `hitpool.fits.FieldMap`, float64.
        threshold: Probability from which a hit takes part.
        max_hits: Hits of a track that take part, those with the largest probabilities.

    Returns:
        Of tracks [B, N, 10] and of hits [B, N, 6, M], in the order of `ToroidFit.gives`.

    Raises:
        TypeError: No tensor, a dtype is another one, or a tensor is not dense.
        ValueError: Shapes, devices or numbers do not fit.
        NotImplementedError: A tensor requires a derivative, or is on a device of another kind.

    Source: `hitpool.fits.ToroidFit` defines it in PyTorch.

    Example:
        >>> import torch
        >>> from hitpool.fits import BoxToroid, Geometry
        >>> from hitpool.ops.toroid_fit import toroid_fit
        >>> hits, logits = torch.zeros(1, 0, 10).double(), torch.zeros(1, 2, 0).double()
        >>> tracks, of_hits = toroid_fit(hits, logits, None, Geometry().numbers(), *BoxToroid().numbers())
        >>> tracks.shape, of_hits.shape
        (torch.Size([1, 2, 10]), torch.Size([1, 2, 6, 0]))
    """
    if not torch.jit.is_scripting():
        check_tensors("toroid_fit", {"hits": hits, "logits": logits}, {"valid": valid})
    result: tuple[Tensor, Tensor] = torch.ops.hitpool.toroid_fit(
        hits, logits, valid, geometry, field, table, threshold=threshold, max_hits=max_hits
    )
    return result
