"""Fit of tracks in the field of a solenoid, with the errors of each module and multiple scattering."""

import math

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from hitpool.fits.bending import GEV_PER_TESLA_METRE
from hitpool.fits.gathered import gather_hits
from hitpool.fits.solenoid_path import ModuleHits, cross, kinks
from hitpool.fits.solenoid_start import start_helix
from hitpool.fits.solenoid_step import step
from hitpool.fits.units import scale_of
from hitpool.nn.angle import wrap_angle
from hitpool.nn.shapes import check_shapes
from hitpool.ops.solenoid_fit import solenoid_fit

WIDTHS = (30e-3, 10e-3, 3e-3, 1e-3, 0.1e-3, 0.0, 0.0)  # m, by which the measurement errors are widened
SHARPNESS = 4  # power of the probabilities before there is a fit
SPREAD = (1.0, 10.0, 1.0)  # of the priors of phi, cot(theta) and curvature [1/m]: far more than is measured
MUON_MASS = 0.1056584  # GeV
NO_HIT = (0.5, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)  # so that no derivative is NaN
LARGEST, LARGEST_ERROR = 100.0, 0.1  # m, of a detector and of a measured coordinate


class SolenoidFit(nn.Module):
    r"""Parameters and errors of each track in a tracking detector in a solenoid, without a loop over tracks.

    A track is a helix ($d_0, z_0, \phi, \cot\theta$, curvature) with two kinks at each of its hits, whose prior spread
    is that of multiple scattering. A hit is a point in the plane of its module, with the directions and variances of
    two measured coordinates. Least squares of all hits at once, linear about the helix of the step before, with a
    covariance of measurement and scattering, gives what a Kalman filter gives.

    Each hit has the weight p times its posterior: with the likelihood $L_i$ of hit i for the track that all other hits
    give, and foreign hits of constant density f, $p_i L_i / (p_i L_i + (1 - p_i + 0.01) f)$. Seven steps, with
    measurement errors that are widened less and less (annealing), begin at a circle and a line through the hits.

    All of it is differentiable, in float64, and has neither sizes nor loops that depend on the data. Where no gradient
    is asked for, the op `hitpool.ops.solenoid_fit` computes it on CPU.

    Args:
        field: Magnetic field in T, along z.
        points: Fields of the coordinates x, y and z, from the beam line.
        first, second: Fields of the directions of both measured coordinates: x, y and z of unit vectors.
        variances: Fields of their variances.
        units: m (or m^2 for variances) per unit of a field, 1 if not given: the factor that undoes data.scale_factors.
        radiation_lengths: Material of a layer, for tracks along its normal.
        beam_spot: Spread of the tracks' origins in m: of their distance from the beam line, and along it.
        max_hits: Hits of a track that take part, those with the largest probabilities.

    Raises:
        ValueError: A number is not positive, `points`, `first` or `second` are not three fields, or `units` names
            others.

    Source: Fruehwirth, Application of Kalman filtering to track and vertex fitting, NIM A 262 (1987) 444; Fruehwirth
        and Strandlie, Track fitting with ambiguities and noise, CPC 120 (1999) 197, for the annealed weights.

    Example:
        >>> fit = SolenoidFit(field=2.0)
        >>> u = torch.tensor([0.1, 0.3, 0.5]).unsqueeze(-1)  # a straight line at eta = 0.88, barrel modules
        >>> module = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1e-9, 1e-9]).expand(3, -1)
        >>> hits = torch.cat([u * torch.tensor([1.0, 0.0, 1.0]), module], -1)
        >>> estimate = fit(hits[None], torch.full((1, 1, 3), 9.0))
        >>> [abs(round(estimate[name].item(), 3)) for name in ("eta", "phi", "qpt")]
        [0.881, 0.0, 0.0]
    """

    scale: Tensor
    no_hit: Tensor
    prior: Tensor
    gives = (
        "eta",
        "phi",
        "qpt",
        "d0",
        "z0",
        "qpt_error",
        "eta_error",
        "phi_error",
        "d0_error",
        "z0_error",
        "num_hits",
        "chi2",
        "log_likelihood",
        "posterior",
    )

    def __init__(
        self,
        field: float,
        points: tuple[str, str, str] = ("x", "y", "z"),
        first: tuple[str, str, str] = ("loc0_x", "loc0_y", "loc0_z"),
        second: tuple[str, str, str] = ("loc1_x", "loc1_y", "loc1_z"),
        variances: tuple[str, str] = ("var_loc0", "var_loc1"),
        units: dict[str, float] | None = None,
        radiation_lengths: float = 0.015,
        beam_spot: tuple[float, float] = (1e-3, 0.1),
        max_hits: int = 16,
    ) -> None:
        super().__init__()
        for name, fields in {"points": points, "first": first, "second": second}.items():
            if len(fields) != 3:
                raise ValueError(f"SolenoidFit: {name} must be the fields of x, y and z, got {fields}")
        if not 0 < abs(field) < math.inf:
            raise ValueError(f"SolenoidFit: field must not be 0, got {field}")
        if not (radiation_lengths > 0 and min(beam_spot) > 0):
            raise ValueError(
                "SolenoidFit: radiation_lengths and beam_spot must be positive, got "
                f"{radiation_lengths} and {beam_spot}"
            )
        if max_hits < 3:
            raise ValueError(f"SolenoidFit: max_hits must be at least 3, got {max_hits}")
        self.inputs = [*points, *first, *second, *variances]
        self.field = field
        self.radiation_lengths = radiation_lengths
        self.beam_spot = beam_spot
        self.max_hits = max_hits
        self.register_buffer("scale", scale_of("SolenoidFit", self.inputs, units), persistent=False)
        self.register_buffer("no_hit", torch.tensor(NO_HIT, dtype=torch.float64), persistent=False)
        self.register_buffer("prior", torch.tensor([*beam_spot, *SPREAD], dtype=torch.float64), persistent=False)

    def forward(
        self, hits: Tensor, logits: Tensor, valid: Tensor | None = None, threshold: float = 0.1
    ) -> dict[str, Tensor]:
        """Fit all tracks.

        Args:
            hits: The fields `inputs` [B, M, 11].
            logits: Assignment logits [B, N, M].
            valid: bool [B, M], False at padded hits, which may hold anything; None for no padding.
            threshold: Probability from which a hit takes part.

        Returns:
            float64 [B, N] each, at the point of closest approach to the beam line: `eta`, `phi` in (-pi, pi], `qpt` =
            q / pT in 1/GeV, with their errors `eta_error`, `phi_error`, `qpt_error`; `d0` = y cos(phi) - x sin(phi) and
            `z0` in m, with `d0_error` and `z0_error`; `num_hits` (sum of the weights), `chi2`, `log_likelihood`
            (against all hits foreign). Without hits, what the priors say. `posterior` [B, N, M] is the probability of
            each hit after the fit, 0 where it does not take part.

        Raises:
            ValueError: Shapes that do not fit.
        """
        given = {"hits": (hits, "B M F"), "logits": (logits, "B N M"), "valid": (valid, "B M")}
        check_shapes("SolenoidFit", given, F=len(self.inputs))
        if valid is not None:
            hits = hits.masked_fill(~valid.unsqueeze(-1), 0)
        ready = hits * self.scale  # [B, M, 11]
        if self._is_for_op(ready, logits):
            numbers = float(self.field), float(self.radiation_lengths), [float(spread) for spread in self.beam_spot]
            arguments = ready.double(), logits.double(), valid, *numbers
            of_tracks, posterior = solenoid_fit(*arguments, threshold=threshold, max_hits=self.max_hits)
        else:
            of_tracks, posterior = self.definition(ready, logits, valid, threshold)
        return dict(zip(SolenoidFit.gives, [*of_tracks.unbind(-1), posterior], strict=True))

    def definition(
        self, hits: Tensor, logits: Tensor, valid: Tensor | None, threshold: float = 0.1
    ) -> tuple[Tensor, Tensor]:
        """The fit in PyTorch: what `hitpool.ops.solenoid_fit` computes, differentiable, on any device.

        Args:
            hits: Hits in m and m^2, as the op takes them, [B, M, 11].
            logits: Assignment logits [B, N, M].
            valid: bool [B, M]; None for no padding.
            threshold: Probability from which a hit takes part.

        Returns:
            Of tracks [B, N, 13] and posterior [B, N, M], float64, in the order of `gives`.
        """
        shape, count = logits.shape[:2], logits.shape[2]
        own, probability, index = gather_hits(hits, self.no_hit, logits, valid, threshold, self.max_hits)
        point, axes, variance = own.split([3, 6, 2], dim=-1)
        tracks = ModuleHits(probability, point, axes.unflatten(-1, (2, 3)), variance.clamp(min=1e-12))
        result, posterior = self._fit(tracks)
        spread = posterior.new_zeros(*shape, count + 1)
        spread = spread.scatter(-1, index.unflatten(0, shape), posterior.unflatten(0, shape))[..., :count]
        return torch.stack([result[name] for name in SolenoidFit.gives[:-1]], dim=-1).unflatten(0, shape), spread

    def _is_for_op(self, hits: Tensor, logits: Tensor) -> bool:
        """Whether the compiled op runs on the device, and has no derivative to give."""
        tensors = hits, logits
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return False
        if any(unpack_dual(tensor).tangent is not None for tensor in tensors):
            return False
        return all(tensor.device.type == "cpu" for tensor in tensors)

    def check(self, hits: Tensor) -> None:
        """Checks the units of what the fit will get.

        Args:
            hits: The fields `inputs` [..., 11] of some hits.

        Raises:
            ValueError: A coordinate or its error is larger than a detector in m, or a direction is no unit vector.
        """
        point, first, second, variance = (hits.detach() * self.scale).flatten(0, -2).split([3, 3, 3, 2], dim=-1)
        largest = point.abs().nan_to_num(0.0).amax().item()
        if largest > LARGEST:
            raise ValueError(
                f"SolenoidFit: the points {', '.join(self.inputs[:3])} reach {largest:g}, expected metres, at most "
                f"{LARGEST:g}: set data.scale_factors (0.001 if they are in mm) or units of the fit"
            )
        for name, values in zip(self.inputs[-2:], variance.nan_to_num(0.0).unbind(-1), strict=True):
            if (value := values.amax().item()) > LARGEST_ERROR**2:
                raise ValueError(
                    f"SolenoidFit: {name} reaches {value:g}, expected m^2, at most {LARGEST_ERROR**2:g}: set units of "
                    "the fit"
                )
        for names, axis in ((self.inputs[3:6], first), (self.inputs[6:9], second)):
            length = torch.linalg.vector_norm(axis, dim=-1)
            if (wrong := (length - 1).abs() > 1e-3).any():
                raise ValueError(
                    f"SolenoidFit: {', '.join(names)} must be a unit vector, got the length {length[wrong][0].item():g}"
                )

    def _fit(self, hits: ModuleHits) -> tuple[dict[str, Tensor], Tensor]:
        """Results by name [T], and posterior of the hits [T, K]."""
        weight = posterior = hits.probability
        helix = start_helix(hits, weight**SHARPNESS)  # [T, 5]
        zero = torch.zeros_like(helix[:, 0])
        middle = torch.stack([zero, zero, helix[:, 2], zero, zero], dim=-1)
        for width in WIDTHS:
            weight = posterior
            crossings = cross(helix, hits)
            spread = self._scattering(helix, crossings.incidence) * weight.clamp(min=1e-12).sqrt()
            scattering = kinks(helix, crossings) * spread.repeat(1, 2).unsqueeze(1)
            result = step(hits, crossings, scattering, weight, width, self.prior, middle - helix)
            helix, posterior = helix + result.change, result.posterior
        d0, z0, phi, cot, curvature = helix.unbind(-1)
        error = result.covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
        charge = -1 / (GEV_PER_TESLA_METRE * self.field)
        found = {
            "eta": torch.asinh(cot),
            "phi": wrap_angle(phi),
            "qpt": charge * curvature,
            "d0": d0,
            "z0": z0,
            "qpt_error": abs(charge) * error[:, 4],
            "eta_error": error[:, 3] * (1 + cot.square()).rsqrt(),
            "phi_error": error[:, 2],
            "d0_error": error[:, 0],
            "z0_error": error[:, 1],
            "num_hits": weight.sum(1),
            "chi2": result.chi2,
            "log_likelihood": result.log_likelihood,
        }
        return found, posterior

    def _scattering(self, helix: Tensor, incidence: Tensor) -> Tensor:
        r"""Spread of each kink in rad, 13.6 MeV / (beta p) sqrt(X) (1 + 0.038 ln X), [T, K].

        Source: Particle Data Group, Passage of particles through matter, multiple scattering.
        """
        cot, curvature = helix[:, 3:4], helix[:, 4:5]
        momentum = GEV_PER_TESLA_METRE * abs(self.field) / curvature.abs().clamp(min=1e-4) * (1 + cot.square()).sqrt()
        thickness = self.radiation_lengths / incidence
        over_beta = (1 + (MUON_MASS / momentum).square()).sqrt()
        return 0.0136 / momentum * over_beta * thickness.sqrt() * (1 + 0.038 * thickness.log())
