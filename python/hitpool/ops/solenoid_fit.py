from __future__ import annotations

import torch
from torch import Tensor

from hitpool.ops.arguments import check_tensors


def solenoid_fit(
    hits: Tensor,  # [B, M, 11]
    logits: Tensor,  # [B, N, M]
    valid: Tensor | None,  # [B, M]
    field: float,
    radiation_lengths: float,
    beam_spot: list[float],
    threshold: float = 0.1,
    max_hits: int = 16,
) -> tuple[Tensor, Tensor]:  # [B, N, 13], [B, N, M]
    """The whole annealed fit of `hitpool.fits.SolenoidFit` on CPU, track by track, without derivative.

    Tensors on a CUDA device are copied to the CPU and the results back, so that an exported model, which holds this op,
    runs there too. In Python, `hitpool.fits.SolenoidFit` computes on the device by PyTorch instead.

    Args:
        hits: x, y, z in m, directions of both measured coordinates (x, y, z of unit vectors) and their variances in
            m^2, [B, M, 11] float64.
        logits: Assignment logits [B, N, M] float64.
        valid: bool [B, M], False at padded hits, which may hold anything; None for no padding.
        field: Magnetic field in T, along z.
        radiation_lengths: Material of a layer, for tracks along its normal.
        beam_spot: Spread of the tracks' origins in m: of their distance from the beam line, and along it.
        threshold: Probability from which a hit takes part.
        max_hits: Hits of a track that take part, those with the largest probabilities.

    Returns:
        Of tracks [B, N, 13] and the posterior of the hits [B, N, M], in the order of `SolenoidFit.gives`.

    Raises:
        TypeError: No tensor, a dtype is another one, or a tensor is not dense.
        ValueError: Shapes, devices or numbers do not fit.
        NotImplementedError: A tensor requires a derivative, or is on a device of another kind.

    Source: `hitpool.fits.SolenoidFit` defines it in PyTorch.

    Example:
        >>> import torch
        >>> from hitpool.ops.solenoid_fit import solenoid_fit
        >>> hits, logits = torch.zeros(1, 0, 11).double(), torch.zeros(1, 2, 0).double()
        >>> tracks, posterior = solenoid_fit(hits, logits, None, 2.0, 0.015, [1e-3, 0.1])
        >>> tracks.shape, posterior.shape
        (torch.Size([1, 2, 13]), torch.Size([1, 2, 0]))
    """
    if not torch.jit.is_scripting():
        check_tensors("solenoid_fit", {"hits": hits, "logits": logits}, {"valid": valid})
    result: tuple[Tensor, Tensor] = torch.ops.hitpool.solenoid_fit(
        hits, logits, valid, field, radiation_lengths, beam_spot, threshold=threshold, max_hits=max_hits
    )
    return result
