"""From the results of a track fit to the fields that a task regresses."""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from hitpool.fits.response import PAIRS, QUANTITIES
from hitpool.nn.angle import wrap_angle
from hitpool.quantity import quantity_of
from hitpool.tasks.target_space import TargetSpace

WITH_ERROR = (*QUANTITIES, "pt", "theta", "qop")
IMPACT = ("d0", "z0")
MM_PER_M = 1e3


class FittedFields:
    """Fields of a task as functions of the results of a fit, by the part of their names behind the last underscore.

    These are eta, phi, theta, qpt = q / pT, pt, qop = q / p, and d0 and z0, which are targets in mm and fitted in m.

    Args:
        fields: Regressed fields, K of them.
        space: Where they are learned.
        given: Names of the results of a fit that are used with their errors: d0 and z0, if both are among them.
    """

    def __init__(self, fields: Sequence[str], space: TargetSpace, given: Collection[str] = ()) -> None:
        self.fields = list(fields)
        self.names = [quantity_of(field) for field in fields]
        self.space = space
        self.learns_sign = bool(space.sign.any())
        self.impact = [name for name in IMPACT if name in self.names and {name, f"{name}_error"} <= set(given)]
        self.with_error = {*WITH_ERROR, *self.impact}

    @property
    def uncertainties(self) -> list[str]:
        """Names of what `errors` gives."""
        errors = [
            f"{field}_error" for field, name in zip(self.fields, self.names, strict=True) if name in self.with_error
        ]
        return [*errors, *(f"{one}_{other}_correlation" for one, other in PAIRS)]

    def errors(self, values: dict[str, Tensor], error: Tensor, correlation: Tensor) -> dict[str, Tensor]:
        """Errors of the fields and their correlations.

        Args:
            values: Predictions [B, N] by field, in physical units.
            error: Of q / pT, eta, phi and `impact`, E of them, [B, N, E].
            correlation: Of `PAIRS` [B, N, 3].

        Returns:
            [B, N] by name.
        """
        known = dict(zip((*QUANTITIES, *self.impact), error.unbind(-1), strict=True))
        given = {name: values[field] for field, name in zip(self.fields, self.names, strict=True)}
        if "pt" in given:
            known["pt"] = given["pt"].square() * known["qpt"]
        if "theta" in given:
            known["theta"] = known["eta"] / given["eta"].cosh()
        if "qop" in given:
            slope = given["qpt"] * given["eta"].tanh() * known["eta"]  # of q / p with eta, times cosh(eta)
            square = known["qpt"].square() + slope.square() - 2 * correlation[..., 0] * known["qpt"] * slope
            known["qop"] = square.sqrt() / given["eta"].cosh()
        found = [known[name] for name in self.names if name in self.with_error]
        return dict(zip(self.uncertainties, [*found, *correlation.unbind(-1)], strict=True))

    def chosen(self, values: Tensor) -> Tensor:
        """The columns of q / pT, eta and phi [..., 3] among those of the fields [..., K]."""
        return torch.stack([values[..., self.names.index(name)] for name in QUANTITIES], dim=-1)

    def impact_of(self, fit: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The results `impact` of a fit and their errors in mm, [B, N, E - 3] each."""
        values, errors = ([fit[name + suffix] for name in self.impact] for suffix in ("", "_error"))
        return MM_PER_M * torch.stack(values, dim=-1), MM_PER_M * torch.stack(errors, dim=-1)

    def corrected(self, estimate: Tensor, error: Tensor, learned: Tensor) -> Tensor:
        """Estimates of q / pT, eta, phi, `impact` [B, N, E] as they are learned, others as in `learned` [B, N, K]."""
        qpt, eta, phi, *impact = estimate.unbind(-1)
        known = {"qpt": qpt, "eta": eta, "phi": wrap_angle(phi), "pt": 1 / qpt.abs().clamp(min=1e-6), "q": qpt.sign()}
        known |= dict(zip(self.impact, impact, strict=True))
        if self.learns_sign:  # the logit of about the probability that the charge is positive
            known["q"] = math.sqrt(8 / math.pi) * qpt / error[..., 0]
        return self._encoded(self._with_direction(known), learned)

    def added(self, fit: dict[str, Tensor], correction: Tensor) -> Tensor:
        """Fit and correction added in the learned space [B, N, K]; fields that are not fitted are the correction."""
        known = {name: fit[name] for name in QUANTITIES if name in fit}
        known |= {name: MM_PER_M * fit[name] for name in IMPACT if name in fit}
        if "qpt" in known:
            known["pt"] = 1 / known["qpt"].abs().clamp(min=1e-6)
        return self._encoded(self._with_direction(known), torch.zeros_like(correction)) + correction

    def _with_direction(self, known: dict[str, Tensor]) -> dict[str, Tensor]:
        """Known quantities with the polar angle and q / p, if they are fields and follow from them."""
        if "theta" in self.names:
            known = known | {"theta": 2 * torch.atan(torch.exp(-known["eta"]))}
        if "qop" in self.names and "qpt" in known:
            known = known | {"qop": known["qpt"] / known["eta"].cosh()}
        return known

    def _encoded(self, known: dict[str, Tensor], others: Tensor) -> Tensor:
        """Known quantities [B, N] in the learned space, as far as they are fields; the others as they are [B, N, K]."""
        names = self.names
        physical = torch.stack([known.get(name, torch.ones_like(known["eta"])) for name in names], dim=-1)  # [B, N, K]
        encoded = self.space.encode(physical).to(others.dtype)
        return torch.stack([(encoded if name in known else others)[..., k] for k, name in enumerate(names)], dim=-1)
