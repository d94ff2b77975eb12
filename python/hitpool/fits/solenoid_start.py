"""Where the fit in a solenoid starts: a circle, and a line along it."""

import torch
from torch import Tensor

from hitpool.fits.solenoid_path import ModuleHits

CIRCLE_SPREAD = 1e-4  # m, of the hits around the circle
LINE_SPREAD = 1e-3  # m, of the hits around the line, besides the error along the second axis
CIRCLE_PRIOR = (1e-2, 1.0, 1.0)  # spread of a [m], b and c [1/m]
LINE_PRIOR = (1.0, 10.0)  # spread of z0 [m] and cot(theta)


def start_helix(hits: ModuleHits, weight: Tensor) -> Tensor:
    """Least squares of v = a + b u + c (u^2 + v^2), u along the hits, and of z = z0 + s cot(theta) along the circle.

    Args:
        hits: Hits [T, K].
        weight: Weight of each hit [T, K]; 0 where it is not selected.

    Returns:
        d0 and z0 in m, phi, cot(theta), curvature in 1/m, [T, 5]; without hits all are 0.

    Source: Crawford, A non-iterative method for fitting circular arcs to measured points, NIM 211 (1983) 223.
    """
    x, y, z = hits.point.unbind(-1)  # [T, K]
    middle = (weight.unsqueeze(-1) * hits.point[..., :2]).sum(1)  # [T, 2]
    middle = torch.where((middle == 0).all(-1, keepdim=True), middle.new_tensor([1.0, 0.0]), middle)
    cos, sin = (middle / torch.linalg.vector_norm(middle, dim=-1, keepdim=True)).unsqueeze(-1).unbind(1)  # [T, 1]
    u, v, square = cos * x + sin * y, cos * y - sin * x, x.square() + y.square()
    functions = torch.stack([torch.ones_like(u), u, square], dim=-1)
    a, b, c = _least_squares(functions, v, weight / CIRCLE_SPREAD**2, CIRCLE_PRIOR).split(1, dim=-1)  # [T, 1]
    norm = (1 + b.square() - 4 * a * c).clamp(min=1e-6).sqrt()
    curvature = 2 * c / norm
    radius = square.clamp(min=1e-12).sqrt()
    path = radius / torch.sinc((curvature * radius / 2).clamp(-0.9, 0.9).asin() / torch.pi)
    functions = torch.stack([torch.ones_like(path), path], dim=-1)
    variance = hits.variance[..., 1] + LINE_SPREAD**2
    z0, cot = _least_squares(functions, z, weight / variance, LINE_PRIOR).split(1, dim=-1)
    d0 = 2 * a / (norm + (1 + b.square()).sqrt())
    return torch.cat([d0, z0, torch.atan2(sin + b * cos, cos - b * sin), cot, curvature], dim=-1)


def _least_squares(functions: Tensor, measured: Tensor, weight: Tensor, prior: tuple[float, ...]) -> Tensor:
    weighted = (functions * weight.unsqueeze(-1)).mT  # [T, F, K]
    matrix = weighted @ functions + measured.new_tensor(prior).pow(-2).diag()
    solution: Tensor = torch.linalg.solve_ex(matrix, weighted @ measured.unsqueeze(-1))[0].squeeze(-1)
    return solution
