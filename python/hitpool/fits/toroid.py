"""Fit of muon tracks in a toroid spectrometer in closed form, with the hits weighted by their assignment."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from hitpool.fits.bending import GEV_PER_TESLA_METRE, bend, grid
from hitpool.fits.bending_plane import Frame, Solution, solve
from hitpool.fits.field import BoxToroid, FieldMap
from hitpool.fits.geometry import Geometry
from hitpool.fits.learned_field import LearnedField
from hitpool.fits.toroid_hits import NO_HIT, TrackHits, most_probable_hits
from hitpool.fits.toroid_start import start_azimuth, start_dip, start_parameters
from hitpool.fits.transverse_line import TransverseLine, fit_transverse_line
from hitpool.fits.units import scale_of
from hitpool.muon import HIGH_EDGE, LOW_EDGE, TECHNOLOGY
from hitpool.nn.angle import wrap_angle
from hitpool.nn.shapes import check_shapes
from hitpool.ops.toroid_fit import toroid_fit

WIRE_WIDTHS = (0.1, 0.05)  # m, of the robust weights of one fit to the wires
DRIFT_WIDTHS = (10e-3, 5e-3, 2.5e-3, 1.2e-3, 0.5e-3, 0.0)  # m, by which the errors of the drift radii are widened
WIRE_ITERATIONS = 2
WIRE_ERROR = 8.4e-3  # m, spread of a track around the wire of a tube
SHARPNESS = 4  # power of the probabilities before there is a fit
DELTA_ELECTRONS = 0.05  # share of drift radii that are not the track's
TUBE_WIDTH = 29.2e-3  # m, in which radii that are not the track's lie
COLUMN_SPREAD = 3e-3  # rad, of the azimuth
KAPPA_SPREAD = 0.3  # 1/GeV
STEEPEST = math.atan(math.sinh(4.0))  # rad, largest dip angle
TRACK_QUANTITIES: tuple[str, ...] = ("eta", "phi", "qpt", "kappa", "kappa_error", "eta_error", "direction")
TRACK_QUANTITIES += ("num_hits", "chi2", "log_likelihood")
HIT_QUANTITIES = ("posterior", "hit_distance", "hit_radius", "hit_error", "hit_tube", "hit_taken")
LARGEST_RADIUS, LARGEST = 0.05, 100.0  # m, of a drift tube and of a detector


class _Judged(NamedTuple):
    """What a fit says of its hits [T, K], and how good it is [T]."""

    posterior: Tensor
    distance: Tensor  # m, of the wire or strip from the track
    chi2: Tensor
    log_likelihood: Tensor


class ToroidFit(nn.Module):
    r"""Momentum, direction and their errors of each track in a toroid spectrometer, without a loop over tracks.

    A track is a line in the transverse plane, and in the plane that it spans with the beam line, with u along and v
    across the track, a sum of six functions with a prior spread each,

    $$v(u) = a_0 + a_1 u + \kappa K(u) + k_1 (u - u_1)_+ + k_2 (u - u_2)_+ + c \sin\lambda\, t \tan\delta,$$

    offset of the vertex, slope, curvature $\kappa$ = q/p behind the calorimeter with $K'' = 0.2998\,B\,(1 +
    v'^2)^{3/2}$ along the path, two kinks of the scattering in the calorimeter, and the azimuth, which ties the sectors
    together ($\delta$ is the angle between track and sector). Missing stations and overlaps need no logic: the
    priors cover them.

    Each hit has the weight p times its posterior. Two fits to the wires begin, from the best line through two hits;
    then six fits to the drift circles, with errors that shrink (annealing). A drift circle of radius R at the
    distance r of the track has the likelihoods $L_\pm = 0.475\,N(r \mp R; V)$ of both sides, against foreign hits and
    delta electrons spread over the tube, so sides, delta electrons and foreign hits are settled by one formula:

    $$\rho = \frac{L_+ + L_-}{p (L_+ + L_-) + (0.05 p + 1 - p) / w},\qquad
      m = v - R \frac{L_+ - L_-}{L_+ + L_-},\qquad \text{weight } \frac{p \rho}{V}.$$

    All of it is differentiable, in float64, and has neither sizes nor loops that depend on the data. Where no gradient
    is asked for, the op `hitpool.ops.toroid_fit` computes it on CPU.

    Args:
        high, low: Fields of x, y and z of the two ends of the wire or strip.
        radius: Field of the drift radius; not read for strips.
        radius_variance: Field of the variance of the drift radius or of the measured coordinate.
        wire_variance: Field of the variance along the wire or strip.
        technology: Field that tells drift tubes.
        tube: Its value for drift tubes.
        units: m (or m^2 for variances) per unit of a field, 1 if not given: the factor that undoes data.scale_factors.
        field: Magnetic field: a module that gives B in T from r, z and phi; None for `BoxToroid`.
        geometry: What is in front of the spectrometer; None for `Geometry`.
        max_hits: Hits of a track that take part, those with the largest probabilities.

    Raises:
        ValueError: `high` or `low` are not three fields, or `units` names others.

    Source: Fruehwirth and Strandlie, Track fitting with ambiguities and noise, CPC 120 (1999) 197, for the annealed
        weights; the functions are this package's own.

    Example:
        >>> fit = ToroidFit()
        >>> z = torch.linspace(5.0, 10.0, 12)
        >>> hits = torch.stack([z, z * 0 - 1, z, z, z * 0 + 1, z, z * 0, z * 0 + 1e-6, z * 0 + 1e-4, z * 0 + 2], -1)
        >>> estimate = fit(hits[None], torch.full((1, 1, 12), 9.0))  # straight, in the plane y = 0 at 45 degrees
        >>> round(estimate["eta"].item(), 2), abs(round(estimate["phi"].item(), 2))
        (0.88, 0.0)
    """

    scale: Tensor
    no_hit: Tensor
    gives = TRACK_QUANTITIES + HIT_QUANTITIES

    def __init__(
        self,
        high: tuple[str, str, str] = HIGH_EDGE,
        low: tuple[str, str, str] = LOW_EDGE,
        radius: str = "spacePoint_driftR",
        radius_variance: str = "spacePoint_covYY",
        wire_variance: str = "spacePoint_covXX",
        technology: str = TECHNOLOGY,
        tube: float = 0.0,
        units: dict[str, float] | None = None,
        field: BoxToroid | FieldMap | LearnedField | None = None,
        geometry: Geometry | None = None,
        max_hits: int = 64,
    ) -> None:
        super().__init__()
        if len(high) != 3 or len(low) != 3:
            raise ValueError(f"ToroidFit: high and low must be the fields of x, y and z, got {high} and {low}")
        if max_hits < 4:
            raise ValueError(f"ToroidFit: max_hits must be at least 4, got {max_hits}")
        self.inputs = [*high, *low, radius, radius_variance, wire_variance, technology]
        self.tube = tube
        self.field = field or BoxToroid()
        self.geometry = geometry or Geometry()
        self.max_hits = max_hits
        self.register_buffer("scale", scale_of("ToroidFit", self.inputs[:-1], units), persistent=False)
        self.register_buffer("no_hit", torch.tensor(NO_HIT, dtype=torch.float64), persistent=False)

    def forward(
        self, hits: Tensor, logits: Tensor, valid: Tensor | None = None, threshold: float = 0.1
    ) -> dict[str, Tensor]:
        """Fit all tracks.

        Args:
            hits: The fields `inputs` [B, M, 10].
            logits: Assignment logits [B, N, M].
            valid: bool [B, M], False at padded hits, which may hold anything; None for no padding.
            threshold: Probability from which a hit takes part.

        Returns:
            float64 [B, N] each: `eta`, `phi` in (-pi, pi] and `qpt` = q / pT in 1/GeV at the vertex; `kappa` = q / p
            behind the calorimeter in 1/GeV with its error `kappa_error`, `eta_error`, `direction` (azimuth behind the
            solenoid), `num_hits` (sum of the weights), `chi2`, `log_likelihood` (against all hits foreign, with the
            priors). Without hits, what the priors say. Of hits [B, N, M], 0 where they do not take part: `posterior`,
            the probability after the fit; `hit_distance` in m of the wire or strip from the track; `hit_radius` and
            `hit_error` in m, drift radius (0 for strips) and spread of it or of the strip; `hit_tube`, 1 for drift
            tubes; `hit_taken`, bool, whether it took part.

        Raises:
            ValueError: Shapes that do not fit.
        """
        given = {"hits": (hits, "B M F"), "logits": (logits, "B N M"), "valid": (valid, "B M")}
        check_shapes("ToroidFit", given, F=len(self.inputs))
        if valid is not None:
            hits = hits.masked_fill(~valid.unsqueeze(-1), 0)
        ready = torch.cat([hits[..., :-1] * self.scale, (hits[..., -1:] == self.tube).double()], dim=-1)  # [B, M, 10]
        if self._is_for_op(ready, logits):
            field, table = self.field.numbers()
            table = table or [self.no_hit[:0]]  # AOTInductor loses a list of no tensors
            arguments = ready.double(), logits.double(), valid, self.geometry.numbers(), field, table
            of_tracks, of_hits = toroid_fit(*arguments, threshold=threshold, max_hits=self.max_hits)
        else:
            of_tracks, of_hits = self.definition(ready, logits, valid, threshold)
        result = dict(zip(TRACK_QUANTITIES, of_tracks.unbind(-1), strict=True))
        result |= dict(zip(HIT_QUANTITIES, of_hits.unbind(-2), strict=True))
        result["hit_taken"] = result["hit_taken"] > 0
        return result

    def definition(
        self, hits: Tensor, logits: Tensor, valid: Tensor | None, threshold: float = 0.1
    ) -> tuple[Tensor, Tensor]:
        """The fit in PyTorch: what `hitpool.ops.toroid_fit` computes, differentiable, on any device, in any field.

        Args:
            hits: Hits in m and m^2, as the op takes them, [B, M, 10].
            logits: Assignment logits [B, N, M].
            valid: bool [B, M]; None for no padding.
            threshold: Probability from which a hit takes part.

        Returns:
            Of tracks [B, N, 10] and of hits [B, N, 6, M], float64, in the order of `gives`.
        """
        shape, count = logits.shape[:2], logits.shape[2]
        tracks, index = most_probable_hits(hits, self.no_hit, logits, valid, threshold, self.max_hits)
        result, judged = self._fit(tracks)
        own = [judged.posterior, judged.distance, tracks.radius, tracks.error, tracks.tube, tracks.probability > 0]
        own = torch.stack([value.double() for value in own], dim=-2).unflatten(0, shape)  # [B, N, 6, K]
        index = index.unflatten(0, shape).unsqueeze(-2).expand_as(own)
        of_hits = own.new_zeros(*shape, len(HIT_QUANTITIES), count + 1).scatter(-1, index, own)[..., :count]
        return torch.stack([result[name] for name in TRACK_QUANTITIES], dim=-1).unflatten(0, shape), of_hits

    def _is_for_op(self, hits: Tensor, logits: Tensor) -> bool:
        """Whether the compiled op knows the field, runs on the device, and has no derivative to give."""
        if not _is_as(self.field, BoxToroid, FieldMap, LearnedField) or type(self.geometry) is not Geometry:
            return False
        tensors = [hits, logits, *self.field.buffers(), *self.field.parameters()]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return False
        if any(unpack_dual(tensor).tangent is not None for tensor in tensors):
            return False
        return all(tensor.device.type == "cpu" for tensor in tensors)

    def check(self, hits: Tensor) -> None:
        """Checks the units of what the fit will get.

        Args:
            hits: The fields `inputs` [..., 10] of some hits.

        Raises:
            ValueError: A coordinate is larger than a detector, or a drift radius larger than a tube, in m.
        """
        if not (hits[..., -1] == self.tube).any():
            raise ValueError(
                f"ToroidFit: no hit is a drift tube: {self.inputs[-1]} is {self.tube:g} nowhere; set tube to its value"
            )
        size = (hits[..., :7].detach() * self.scale[:7]).abs().nan_to_num(0.0).flatten(0, -2).amax(0).tolist()
        for name, value, largest in zip(self.inputs, size, [LARGEST] * 6 + [LARGEST_RADIUS], strict=False):
            if value > largest:
                raise ValueError(
                    f"ToroidFit: {name} reaches {value:g}, expected metres, at most {largest:g}: set "
                    "data.scale_factors or units of the fit"
                )

    def _fit(self, hits: TrackHits) -> tuple[dict[str, Tensor], _Judged]:
        """Results by name [T], and what is said of the hits."""
        sharp = hits.probability**SHARPNESS  # [T, K]
        azimuth, dip = start_azimuth(hits, sharp), _within(start_dip(hits, sharp))  # [T]
        kappa = torch.full_like(dip, 0.1)
        judged: _Judged | None = None
        frame: Frame | None = None
        solution: Solution | None = None
        for iteration in range(WIRE_ITERATIONS + len(DRIFT_WIDTHS)):
            momentum = 1 / kappa.abs().clamp(min=1e-3, max=0.5)
            weight = sharp if judged is None else judged.posterior
            line = self._line(hits, weight, azimuth, dip, kappa, momentum, iteration)
            azimuth = line.vertex
            frame = self._frame(hits, line, dip, momentum, frame, solution)
            residual = None if solution is None else self._residual(frame, solution)
            if iteration < WIRE_ITERATIONS:
                solution = self._fit_wires(hits, frame, residual, sharp)
                dip = _within(dip + solution.values[:, 1].atan())
                kept = torch.arange(solution.values.shape[1], device=dip.device) != 1
                solution = solution._replace(values=solution.values * kept)
            else:
                assert residual is not None
                assert solution is not None
                width = DRIFT_WIDTHS[iteration - WIRE_ITERATIONS]
                solution, judged = self._fit_drift(hits, frame, residual, solution, dip, width)
            kappa = solution.values[:, 2]
        assert frame is not None
        assert solution is not None
        assert judged is not None
        variance = solution.inverse.diagonal(dim1=-2, dim2=-1).clamp(min=0) * solution.scale.square()
        dip = _within(dip + solution.values[:, 1].atan())
        pull = (solution.values / frame.prior).square().sum(1)
        result = {
            "eta": torch.asinh(dip.tan()),
            "phi": wrap_angle(azimuth),
            "qpt": self.geometry.at_vertex(kappa) / dip.cos(),
            "kappa": kappa,
            "kappa_error": variance[:, 2].sqrt(),
            "eta_error": variance[:, 1].sqrt() / dip.cos(),
            "direction": wrap_angle(line.direction),
            "num_hits": judged.posterior.sum(1),
            "chi2": judged.chi2,
            "log_likelihood": judged.log_likelihood - 0.5 * pull,
        }
        return result, judged

    def _line(
        self, hits: TrackHits, weight: Tensor, azimuth: Tensor, dip: Tensor, kappa: Tensor, momentum: Tensor, step: int
    ) -> TransverseLine:
        radius, half_length = self.geometry.solenoid
        exit_radius = (half_length / dip.tan().abs().clamp(min=1e-6)).clamp(max=radius)
        curvature = self.geometry.at_vertex(kappa) / dip.cos() if step else torch.zeros_like(kappa)  # q / pT
        turn = GEV_PER_TESLA_METRE * self.geometry.solenoid_field * exit_radius * curvature / 2
        return fit_transverse_line(
            hits,
            weight,
            azimuth,
            bend=2 * turn.clamp(-0.5, 0.5).asin(),
            exit_radius=exit_radius,
            kinks=self.geometry.kinks(dip),
            kink_spread=self.geometry.scattering(dip, momentum) / dip.cos(),
            passes=3 if step < WIRE_ITERATIONS else 1,
            start=step <= WIRE_ITERATIONS,
        )

    def _frame(
        self,
        hits: TrackHits,
        line: TransverseLine,
        dip: Tensor,
        momentum: Tensor,
        before: Frame | None,
        solution: Solution | None,
    ) -> Frame:
        cos, sin = dip.cos().unsqueeze(1), dip.sin().unsqueeze(1)
        delta = line.direction.unsqueeze(1) - hits.azimuth  # [T, K]
        tilt = delta.cos()
        tilt = torch.where(tilt.abs() < 1e-3, 1e-3, tilt)
        t = (hits.distance + line.offset.unsqueeze(1) * delta.sin()) / tilt
        u = (t * cos + hits.z * sin).clamp(0, 40)
        v = (hits.z * cos - t * sin).clamp(-40, 40)
        kinks = self.geometry.kinks(dip) / cos  # [T, 2]
        points = grid(u)  # [G]
        path = slope = points.new_zeros(1).expand(u.shape[0], points.shape[0])  # [T, G]
        if before is not None and solution is not None:
            a = solution.values.unsqueeze(-1)  # [T, 6, 1]
            path = a[:, 0] + a[:, 1] * points + a[:, 2] * before.bending.value
            slope = a[:, 1] + a[:, 2] * before.bending.slope
            for kink, angle in zip(kinks.unbind(1), (a[:, 3], a[:, 4]), strict=True):
                behind = points - kink.unsqueeze(1)
                path, slope = path + angle * behind.clamp(min=0), slope + angle * (behind > 0)
        field = self.field(points * cos - path * sin, points * sin + path * cos, line.direction.unsqueeze(1))
        bending = bend(field, slope)
        value, gradient = bending.at(u)
        behind = u.unsqueeze(-1) - kinks.unsqueeze(1)  # [T, K, 2]
        column = (sin * t * delta.sin() / tilt).clamp(-5, 5)
        one, zero = torch.ones_like(u), torch.zeros_like(u)
        scattering = self.geometry.scattering(dip, momentum)
        flat = torch.ones_like(dip)
        prior = [self.geometry.vertex_spread * dip.cos(), flat, KAPPA_SPREAD * flat]
        return Frame(
            u=u,
            v=v,
            tilt=tilt,
            functions=torch.stack([one, u, value, *behind.clamp(min=0).unbind(-1), column], dim=-1),
            slopes=torch.stack([zero, one, gradient, *(behind > 0).to(u.dtype).unbind(-1), zero], dim=-1),
            bending=bending,
            kinks=kinks,
            prior=torch.stack([*prior, scattering, scattering, COLUMN_SPREAD * flat], dim=1),
        )

    def _residual(self, frame: Frame, solution: Solution) -> Tensor:
        return frame.v - (frame.functions @ solution.values.unsqueeze(-1)).squeeze(-1)  # [T, K]

    def _fit_wires(self, hits: TrackHits, frame: Frame, residual: Tensor | None, sharp: Tensor) -> Solution:
        """Fit to wires and strips with robust weights."""
        weight = sharp * torch.where(hits.tube, WIRE_ERROR**-2, 1 / (hits.error.square() + 4e-6))
        if residual is None:
            loose = torch.cat([frame.prior[:, :3], 2 * frame.prior[:, 3:5], frame.prior[:, 5:]], dim=1)
            start = start_parameters(frame.u, frame.v, hits.probability, frame.functions, loose)
            residual = frame.v - (frame.functions @ start.unsqueeze(-1)).squeeze(-1)
        for width in WIRE_WIDTHS:
            solution = solve(frame, frame.v, weight / (1 + (residual / width).square()))
            residual = self._residual(frame, solution)
        return solution

    def _fit_drift(
        self, hits: TrackHits, frame: Frame, residual: Tensor, solution: Solution, dip: Tensor, width: float
    ) -> tuple[Solution, _Judged]:
        """Fit to drift circles, and what the fit before says."""
        p = hits.probability
        slope = (frame.slopes @ solution.values.unsqueeze(-1)).squeeze(-1)  # [T, K]
        angle = dip.unsqueeze(1) + slope.atan()
        stretch = ((angle.cos().square() + (angle.sin() / frame.tilt).square()) * (1 + slope.square())).sqrt()
        stretch = torch.where(hits.tube, stretch, 1.0)  # of a radius across the wire, seen along v
        radius = hits.radius * stretch
        error = (hits.error * stretch).square()
        variance = total = error + width**2
        if width > 0:  # how well the track is known
            scaled = frame.functions * solution.scale.unsqueeze(1)
            total = variance + ((scaled @ solution.inverse) * scaled).sum(-1).clamp(0, 1e-4)
        height = 0.5 * (1 - DELTA_ELECTRONS) * (2 * math.pi * total).rsqrt()
        right = height * ((residual - radius).square() / (-2 * total)).exp()
        left = height * ((residual + radius).square() / (-2 * total)).exp()
        foreign = (p * DELTA_ELECTRONS + 1 - p) / TUBE_WIDTH
        likelihood = p * (right + left) + foreign
        rho = (right + left) / likelihood
        side = (right - left) / (right + left).clamp(min=1e-30)
        posterior = p * rho
        nearest = torch.minimum((residual - radius).abs(), (residual + radius).abs())
        chi2 = (posterior * nearest.square() / error).sum(1)
        gain = torch.where(p > 0, (likelihood / foreign).log(), 0.0).sum(1)
        judged = _Judged(posterior, residual.abs() / stretch, chi2, gain)
        return solve(frame, frame.v - side * radius, posterior / variance), judged


def _within(dip: Tensor) -> Tensor:
    """Dip angle of a direction in which there are detectors."""
    return dip.clamp(-STEEPEST, STEEPEST)


def _is_as(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a module computes as one of the classes; while torch.export records, it is of a subclass of its own."""
    return any(isinstance(module, kind) and _overrides_nothing(type(module), kind) for kind in kinds)


def _overrides_nothing(own: type, kind: type) -> bool:
    names = [name for name in dir(kind) if not name.startswith("__")]
    between = own.__mro__[: own.__mro__.index(kind)]
    return not any(name in vars(part) for part in between for name in names)
