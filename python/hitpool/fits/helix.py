"""Helix fits in closed form, from pooled sums over the hits of each track."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from hitpool.fits.bending import GEV_PER_TESLA_METRE
from hitpool.nn.dense import Dense
from hitpool.nn.precision import precise_dtype
from hitpool.nn.recorded import is_recorded
from hitpool.nn.shapes import check_shapes
from hitpool.ops import weighted_pool

QUANTITIES = ("eta", "phi", "qpt", "d0", "z0")
CIRCLE_PRIOR = (1e-2, 1.0, 1.0)  # spread of a [m], b and c [1/m]: far more than tracks have, so that no hits give zeros
LINE_PRIOR = (1.0, 10.0)  # spread of z0 [m] and cot(theta)
LARGEST = 100.0  # coordinate [m]


class HelixFit(nn.Module):
    r"""Least-squares helix of each track in a solenoid, without a tensor of tracks by hits by features.

    In a frame rotated so that the hits of the track lie along u, a circle is $v = a + b u + c (u^2 + v^2)$, and along
    it $z = z_0 + s \cot\theta$ with the arc length s of a circle through the beam line. Both are linear fits with the
    hit weights $p / \sigma^2$: p is the assignment probability, and a network gives $\sigma$ from hit fields, for
    circle and line. The sums in the normal equations are polynomials of x, y and z, pooled in float64 and rotated
    afterwards. With the curvature $\kappa = 2 c / \sqrt{1 + b^2 - 4 a c}$ and the field B,
    $q / p_T = -\kappa / (0.2998 B)$ and $\eta = \mathrm{arsinh} \cot\theta$. The best weights depend on the parameter
    and on the momentum (multiple scattering), so there are several fits, and a second network mixes them for each
    parameter.

    The assignment is taken as it is: no gradient flows to the logits.

    Args:
        hit_fields: Fields from which the network judges the precision of a hit.
        points: Fields of the coordinates x, y and z in m, from the beam line, with the magnetic field along z.
        field: Magnetic field in T.
        num_fits: Number H of fits, each with weights of its own.
        hidden_dim: Width of the hidden layer of both networks.
        resolution: Initial $\sigma$ in m.

    Raises:
        ValueError: `points` are not three fields, or a number is not positive.

    Source: Crawford, A non-iterative method for fitting circular arcs to measured points, NIM 211 (1983) 223.

    Example:
        >>> fit = HelixFit(hit_fields=["z"], field=2.0)
        >>> u = torch.tensor([[[0.1, 0.0, 0.1], [0.3, 0.0, 0.3], [0.5, 0.0, 0.5]]])  # a straight line at eta = 0.88
        >>> estimate = fit(u[..., [0, 1, 2, 2]], torch.full((1, 1, 3), 9.0), torch.ones(1, 3, dtype=torch.bool))
        >>> [round(estimate[name].item(), 3) for name in ("eta", "phi", "qpt")]
        [0.881, 0.0, 0.0]
    """

    gives = QUANTITIES

    def __init__(
        self,
        hit_fields: list[str],
        field: float,
        points: tuple[str, str, str] = ("x", "y", "z"),
        num_fits: int = 4,
        hidden_dim: int = 32,
        resolution: float = 1e-4,
    ) -> None:
        super().__init__()
        if len(points) != 3:
            raise ValueError(f"HelixFit: points must be the fields of x, y and z, got {points}")
        for name, value in {"num_fits": num_fits, "hidden_dim": hidden_dim, "resolution": resolution}.items():
            if not 0 < value < math.inf:
                raise ValueError(f"HelixFit: {name} must be positive, got {value}")
        if not 0 < abs(field) < math.inf:
            raise ValueError(f"HelixFit: field must not be 0, got {field}")
        self.inputs = [*points, *hit_fields]
        self.field = field
        self.num_fits = num_fits
        self.resolution = resolution
        self.precision = Dense(len(hit_fields), 2 * num_fits, hidden_layers=[hidden_dim])
        self.mixture = Dense(2 + 2 * num_fits, len(QUANTITIES) * num_fits, hidden_layers=[hidden_dim])

    def forward(
        self, hits: Tensor, logits: Tensor, valid: Tensor | None = None, threshold: float = 0.1
    ) -> dict[str, Tensor]:
        r"""Fit all tracks.

        Args:
            hits: The fields `inputs` [B, M, 3 + F]: x, y and z of the hits in m, and the `hit_fields`.
            logits: Assignment logits [B, N, M].
            valid: bool [B, M], False at padded hits, which may hold anything; None for no padding.
            threshold: Probability from which a hit takes part.

        Returns:
            [B, N] each, at the point of closest approach to the beam line: `eta`, `phi` in (-pi, pi], `qpt` = q / pT in
            1/GeV, `d0` = y cos(phi) - x sin(phi) and `z0` in m.

        Raises:
            TypeError: The fit was brought to a type below float32.
            ValueError: Shapes do not fit, or the points are not in m; that is noticed on CPU, outside of recorded
                graphs and torch.func.
        """
        given = {"hits": (hits, "B M F"), "logits": (logits, "B N M"), "valid": (valid, "B M")}
        check_shapes("HelixFit", given, F=len(self.inputs))
        dtype = precise_dtype(self, "HelixFit")
        if valid is not None:
            hits = hits.masked_fill(~valid.unsqueeze(-1), 0)
        if hits.device.type == "cpu" and not is_recorded() and not torch._C._are_functorch_transforms_active():
            self.check(hits)
        points, fields = hits[..., :3], hits[..., 3:]
        circle, line = self._sums(points, fields.to(dtype), logits, valid, threshold)  # [B, N, H, 9] and [B, N, H, 14]
        cos, sin = _direction(circle[..., 1], circle[..., 2])  # [B, N, H]
        a, b, c = _fit_circle(circle, cos, sin, self.resolution)
        norm = (1 + b.square() - 4 * a * c).clamp(min=1e-6).sqrt()
        curvature = 2 * c / norm  # 1/m
        z0, cot = _fit_line(line, curvature, self.resolution)
        azimuth = torch.atan2(sin + b * cos, cos - b * sin)
        fits = {
            "eta": torch.asinh(cot),
            "phi": azimuth,
            "qpt": -curvature / (GEV_PER_TESLA_METRE * self.field),
            "d0": 2 * a / (norm + (1 + b.square()).sqrt()),
            "z0": z0,
        }
        state = [fits["eta"][..., :1], fits["qpt"][..., :1].abs().clamp(min=1e-3).log()]
        weights = [total[..., 0].clamp(min=1e-6).log() for total in (circle, line)]
        mixture = self.mixture(torch.cat([*state, *weights], dim=-1).to(dtype).detach())
        shares = mixture.unflatten(-1, (len(QUANTITIES), self.num_fits)).double().softmax(-1)  # [B, N, 5, H]
        estimate = {}
        for k, (name, fit) in enumerate(fits.items()):
            first = fit[..., :1]
            offset = torch.atan2((fit - first).sin(), (fit - first).cos()) if name == "phi" else fit - first
            estimate[name] = first.squeeze(-1) + (shares[..., k, :] * offset).sum(-1)
        estimate["phi"] = torch.atan2(estimate["phi"].sin(), estimate["phi"].cos())
        return {name: value.to(dtype) for name, value in estimate.items()}

    def check(self, hits: Tensor) -> None:
        """Checks the unit of the points: what is not scaled overflows the sums, and the loss is NaN.

        Args:
            hits: The fields `inputs` [..., 3 + F] of some hits.

        Raises:
            ValueError: A coordinate is larger than a detector in m.
        """
        size = hits[..., :3].detach().abs()
        if (size > LARGEST).any():
            raise ValueError(
                f"HelixFit: the points {', '.join(self.inputs[:3])} reach {size.nan_to_num(0.0).max().item():g}, "
                f"expected metres, at most {LARGEST:g}: scale them in data.scale_factors (0.001 if they are in mm)"
            )

    def _sums(
        self, points: Tensor, fields: Tensor, logits: Tensor, valid: Tensor | None, threshold: float
    ) -> tuple[Tensor, Tensor]:
        x, y, z = points.double().unbind(-1)  # [B, M]
        weight = (-2 * self.precision(fields).double()).exp()  # [B, M, 2H] in units of 1 / resolution^2
        weight = weight.unflatten(-1, (2, self.num_fits, 1))  # [B, M, 2, H, 1]
        square = x.square() + y.square()
        r = square.sqrt()
        one = torch.ones_like(x)
        circle = [one, x, y, x * x, x * y, y * y, x * square, y * square, square * square]
        line = [one, *(r**k for k in range(1, 9)), *(z * r**k for k in (0, 1, 3, 5, 7))]
        products = [weight[..., 0, :, :] * torch.stack(circle, -1).unsqueeze(-2)]  # [B, M, H, 9]
        products += [weight[..., 1, :, :] * torch.stack(line, -1).unsqueeze(-2)]  # [B, M, H, 14]
        flat = torch.cat([product.flatten(-2) for product in products], dim=-1)  # [B, M, 23 H]
        sums = weighted_pool(logits.detach(), flat, valid, threshold=threshold)[..., 1, :]  # [B, N, 23 H]
        circle_sums, line_sums = sums.split([9 * self.num_fits, 14 * self.num_fits], dim=-1)
        return circle_sums.unflatten(-1, (self.num_fits, 9)), line_sums.unflatten(-1, (self.num_fits, 14))


def _direction(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vector along (x, y); (1, 0) where both are 0."""
    empty = (x == 0) & (y == 0)
    x = torch.where(empty, 1.0, x)
    norm = torch.hypot(x, y)
    return x / norm, y / norm


def _fit_circle(sums: Tensor, cos: Tensor, sin: Tensor, resolution: float) -> tuple[Tensor, Tensor, Tensor]:
    """The a, b, c of v = a + b u + c (u^2 + v^2) from sums in the frame of the detector."""
    n, x, y, xx, xy, yy, xrr, yrr, rrrr = sums.unbind(-1)
    u, v, rr = cos * x + sin * y, cos * y - sin * x, xx + yy
    uu = cos * cos * xx + 2 * cos * sin * xy + sin * sin * yy
    uv = cos * sin * (yy - xx) + (cos * cos - sin * sin) * xy
    urr, vrr = cos * xrr + sin * yrr, cos * yrr - sin * xrr
    matrix = torch.stack([n, u, rr, u, uu, urr, rr, urr, rrrr], -1).unflatten(-1, (3, 3))
    a, b, c = _solve(matrix, torch.stack([v, uv, vrr], -1), CIRCLE_PRIOR, resolution).unbind(-1)
    return a, b, c


def _fit_line(sums: Tensor, curvature: Tensor, resolution: float) -> tuple[Tensor, Tensor]:
    """The z0 and cot(theta) of z = z0 + s cot(theta), with the arc length s as a series in (r / R)^2."""
    n, r, r2, r3, r4, r5, r6, r7, r8, z, zr, zr3, zr5, zr7 = sums.unbind(-1)
    k2 = curvature.square()

    def series(terms: list[Tensor], factors: list[float]) -> Tensor:
        pairs = enumerate(zip(terms, factors, strict=True))
        return cast(Tensor, sum(factor * k2**power * term for power, (term, factor) in pairs))

    arcsine = [1, 1 / 24, 3 / 640, 5 / 7168]  # 2 R asin(r / 2 R) / r
    s = series([r, r3, r5, r7], arcsine)
    zs = series([zr, zr3, zr5, zr7], arcsine)
    ss = series([r2, r4, r6, r8], [1, 1 / 12, 1 / 90, 1 / 560])
    matrix = torch.stack([n, s, s, ss], -1).unflatten(-1, (2, 2))
    z0, cot = _solve(matrix, torch.stack([z, zs], -1), LINE_PRIOR, resolution).unbind(-1)
    return z0, cot


def _solve(matrix: Tensor, vector: Tensor, prior: tuple[float, ...], resolution: float) -> Tensor:
    ridge = (resolution / vector.new_tensor(prior)).square()
    solution: Tensor = torch.linalg.solve_ex(matrix + ridge.diag(), vector)[0]
    return solution
