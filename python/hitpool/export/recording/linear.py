"""Linear algebra of small matrices, written out: there are no operators for it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from hitpool.export.recording.recorder import Function, RecordError, Symbol


def inverse_root(matrix: Tensor) -> Tensor:
    r"""The inverse of the Cholesky factor, $L^{-1}$ with $L L^T = A$, by halves.

    Args:
        matrix: Symmetric and positive [..., n, n]; the part above the diagonal is not read.

    Returns:
        Lower triangular [..., n, n].
    """
    size = matrix.shape[-1]
    if size == 1:
        return matrix.rsqrt()
    half = size // 2
    first = inverse_root(matrix[..., :half, :half])
    below = matrix[..., half:, :half] @ first.mT
    second = inverse_root(matrix[..., half:, half:] - below @ below.mT)
    corner = -(second @ (below @ first))
    return torch.cat([pad(first, (0, size - half)), torch.cat([corner, second], dim=-1)], dim=-2)


def solve(matrix: Tensor, right: Tensor) -> tuple[Tensor, None]:
    """Solves with a symmetric and positive matrix [..., n, n], as all are in the fits of hitpool."""
    root = inverse_root(matrix)
    if right.dim() == matrix.dim():
        return root.mT @ (root @ right), None
    return (root.mT @ (root @ right.unsqueeze(-1))).squeeze(-1), None


def invert(matrix: Tensor) -> tuple[Tensor, None]:
    """Inverts a symmetric and positive matrix [..., n, n]."""
    root = inverse_root(matrix)
    return root.mT @ root, None


def cholesky(matrix: Tensor) -> tuple[Tensor, None]:
    """The Cholesky factor, which knows its inverse."""
    root = inverse_root(matrix)
    lower = matrix @ root.mT
    assert isinstance(lower, Symbol)
    lower.inverse_factor = root
    return lower, None


def solve_triangular(factor: Tensor, right: Tensor, *, upper: bool) -> Tensor:
    """Solves with what `cholesky` gave."""
    if upper or not hasattr(factor, "inverse_factor"):
        raise RecordError("linalg.solve_triangular can be recorded for the result of linalg.cholesky_ex only")
    result: Tensor = factor.inverse_factor @ right
    return result


def diag_embed(x: Tensor) -> Tensor:
    return x.unsqueeze(-1) * torch.eye(x.shape[-1], dtype=x.dtype)


COMPOSITES: dict[str, Function] = {
    "linalg_solve_ex": solve,
    "linalg_inv_ex": invert,
    "linalg_cholesky_ex": cholesky,
    "linalg_solve_triangular": solve_triangular,
    "diag_embed": diag_embed,
}
