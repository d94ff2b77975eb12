"""What a track fit gets wrong, learned: its response, its errors, and when to believe the pooled regression instead."""

import math

import torch
from torch import Tensor, nn

from hitpool.fits.late import LateModule
from hitpool.nn.angle import wrap_angle
from hitpool.nn.dense import Dense

QUANTITIES = ("qpt", "eta", "phi")
ERRORS = tuple(f"{name}_error" for name in QUANTITIES)
CURVATURE = ("direction", "kappa", "kappa_error")
GATE = -4.0  # logit of the share of the pooled regression, at first
PAIRS = (("qpt", "eta"), ("qpt", "phi"), ("eta", "phi"))
LARGEST_PARTIAL = 0.99  # correlation
CENTRAL = math.erf(math.sqrt(0.5))  # share of a Gaussian within one standard deviation
LARGEST_CHANGE = 3.0  # of the logarithm of q / pT
GROUPS = 12  # of tracks of about equal |q / pT|, whose bias is part of the loss


class FitResponse(LateModule):
    r"""Corrects the results of a track fit and gives their errors.

    A network reads the fit, its quality and its differences to the pooled regression, and gives for each quantity a
    correction o, a gate g and an error,

    $$q/p_T = (q/p_T)_\mathrm{fit}\, e^{0.1 o_1},\qquad \eta = \eta_\mathrm{fit} + 0.01\, o_2,\qquad
      \phi = \phi_\mathrm{fit} + 0.01\, o_3,$$

    plus g times the difference of the pooled regression to that: it takes over where the fit has failed. The momentum
    is corrected by a factor because field and material scale it. The loss is $\log(1 + r^2 / 2) + 0.03 |r|$ with the
    residual r in units of about the resolution, so that the few tracks with wrong hits do not matter more than the
    others; added to it is the mean square of the bias of $|q/p_T|$, the mean of $\pm r / (1 + r^2 / 2)$, in 12 groups
    of about equal true $|q/p_T|$, because residuals alone would draw the estimates to where most tracks of the training
    are, most of all at the edges of their spectrum. The error is the quantile of |residual| that is a Gaussian's
    standard deviation (68.27 %), learned by the pinball loss of its logarithm, and changes nothing in the estimate. A
    second network gives the correlations of the errors, by the likelihood of a Gaussian of the residuals in units of
    their errors, up to three of them.

    With `fit_errors`, the errors that the fit states are the units of corrections, loss and errors, and $q/p_T$ is
    corrected by an offset too.

    It is untrained, and its task then gives the pooled regression alone, until the second phase of `hitpool fit`.

    Args:
        sectors: Sectors of the detector, all alike: the network sees the azimuth through the cosine and sine of
            `sectors` and `2 sectors` times its value.
        hidden_dim: Width of its two hidden layers.
        fit_errors: The fit states the errors of $q/p_T$, $\eta$ and $\phi$, as `SolenoidFit` does; if not, they are
            about those of a muon spectrometer.
        largest_curvature: Largest |q / pT| in 1/GeV.

    Raises:
        ValueError: `sectors` or `hidden_dim` is below 1, or `largest_curvature` is not positive.

    Source: Koenker and Bassett, Regression quantiles, Econometrica 46 (1978) 33, for the pinball loss.

    Example:
        >>> response = FitResponse()
        >>> names = ("qpt", "eta", "phi", "direction", "kappa", "kappa_error", "num_hits", "chi2", "log_likelihood")
        >>> fit = {name: torch.full((1, 2), 0.1) for name in names}
        >>> described = response.describe(fit, torch.full((1, 2, 3), 0.1))
        >>> estimate, error = response(described)
        >>> [round(value, 4) for value in estimate[0, 0].tolist()]
        [0.1, 0.1, 0.1]
    """

    mean: Tensor
    spread: Tensor
    advice = "take ToroidFit, or SolenoidFit and fit_errors"

    def __init__(
        self, sectors: int = 8, hidden_dim: int = 64, fit_errors: bool = False, largest_curvature: float = 0.3
    ) -> None:
        super().__init__()
        for name, value in {"sectors": sectors, "hidden_dim": hidden_dim}.items():
            if value < 1:
                raise ValueError(f"FitResponse: {name} must be at least 1, got {value}")
        if not largest_curvature > 0:
            raise ValueError(f"FitResponse: largest_curvature must be positive, got {largest_curvature}")
        self.sectors = sectors
        self.fit_errors = fit_errors
        self.largest_curvature = largest_curvature
        self.needs = (*QUANTITIES, *(ERRORS if fit_errors else CURVATURE), "num_hits", "chi2", "log_likelihood")
        self.describes = ("fit", "pooled", "features", *(("units",) if fit_errors else ()))
        size = 25 if fit_errors else 23
        self.net = Dense(size, 9, hidden_layers=[hidden_dim, hidden_dim])
        nn.init.zeros_(self.net.last.weight)
        nn.init.zeros_(self.net.last.bias)
        with torch.no_grad():
            self.net.last.bias[3:6] = GATE
        self.partial = Dense(size, len(PAIRS), hidden_layers=[hidden_dim])
        nn.init.zeros_(self.partial.last.weight)
        nn.init.zeros_(self.partial.last.bias)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))

    def describe(self, fit: dict[str, Tensor], pooled: Tensor) -> dict[str, Tensor]:
        """What the network reads.

        Args:
            fit: Results of the fit [B, N] by name.
            pooled: q / pT, eta and phi of the pooled regression [B, N, 3].

        Returns:
            `fit` and `pooled` float64 [B, N, 3], both in the order q / pT, eta, phi; `features` [B, N, F]; with
            `fit_errors` also `units` float64 [B, N, 3].
        """
        qpt = fit["qpt"].clamp(-self.largest_curvature, self.largest_curvature)
        eta, phi = fit["eta"], fit["phi"]
        other_qpt, other_eta, other_phi = pooled.double().unbind(-1)
        size, charge, side = qpt.abs(), qpt.sign(), (qpt * eta).sign()
        if self.fit_errors:
            units = torch.stack([fit[name] for name in ERRORS], dim=-1)  # [B, N, 3]
            direction, error = phi, units[..., 0] / (size + 1e-3)
        else:
            direction, error = fit["direction"], fit["kappa_error"] / (fit["kappa"].abs() + 1e-3)
        sector = self.sectors * direction
        hits = fit["num_hits"]
        features = [
            eta,
            eta.abs(),
            eta.square() / 2 - 1,
            sector.cos(),
            sector.sin(),
            (2 * sector).cos(),
            (2 * sector).sin(),
            (size + 1e-3).log() + 3,
            size * 8,
            charge,
            side,
            side * size * 8,
            (error + 1e-3).log() + 3,
            hits / 20 - 1,
            (fit["chi2"] / hits.clamp(min=1) + 0.1).log(),
            other_qpt * 8,
            ((other_qpt - qpt) * 8).clamp(-3, 3),
            ((other_qpt - qpt) / (other_qpt.abs() + 0.01)).clamp(-5, 5),
            ((eta - other_eta) / 0.03).clamp(-8, 8),
            (wrap_angle(phi - other_phi) / 0.1).clamp(-8, 8),
            hits / 8 - 1,
            (fit["log_likelihood"] / 50).clamp(-5, 5),
            (other_qpt.abs() + 1e-3).log() + 3,
        ]
        described = {"fit": torch.stack([qpt, eta, phi], dim=-1), "pooled": pooled.double()}
        if self.fit_errors:
            features += [units[..., 1].log() + 8, units[..., 2].log() + 8]
            described["units"] = units
        return described | {"features": torch.stack(features, dim=-1).clamp(-8, 8).to(self.mean.dtype)}

    def forward(self, described: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Corrected estimates and their errors.

        Args:
            described: What `describe` returned.

        Returns:
            q / pT in 1/GeV, eta and phi, float64 [B, N, 3] each; phi may be a turn off.
        """
        output = self.net((described["features"] - self.mean) / self.spread).double()  # [B, N, 9]
        change, gate, error = output.split(3, dim=-1)
        if self.fit_errors:
            fit = described["fit"] + described["units"] * change
        else:
            qpt, eta, phi = described["fit"].unbind(-1)
            change_qpt, change_eta, change_phi = change.unbind(-1)
            factor = (0.1 * change_qpt).clamp(-LARGEST_CHANGE, LARGEST_CHANGE).exp()
            fit = torch.stack([qpt * factor, eta + 0.01 * change_eta, phi + 0.01 * change_phi], dim=-1)
        difference = described["pooled"] - fit
        difference = torch.cat([difference[..., :2], wrap_angle(difference[..., 2:])], dim=-1)
        estimate = fit + torch.sigmoid(gate) * difference
        units = described["units"] if self.fit_errors else _units(estimate[..., 0]).detach()
        return estimate, units * error.clamp(-8, 8).exp()

    def correlation(self, described: dict[str, Tensor]) -> Tensor:
        r"""Correlations of the errors.

        With the Cholesky factor of the correlation matrix made of $a, b, c$ in (-1, 1), they are $a$, $b$ and
        $a b + c \sqrt{(1 - a^2)(1 - b^2)}$, so that the matrix is always positive.

        Args:
            described: What `describe` returned.

        Returns:
            Of q / pT with eta, q / pT with phi, and eta with phi, float64 [B, N, 3].
        """
        a, b, c = self._partial(described).unbind(-1)
        return torch.stack([a, b, a * b + c * ((1 - a.square()) * (1 - b.square())).sqrt()], dim=-1)

    def _partial(self, described: dict[str, Tensor]) -> Tensor:
        output: Tensor = self.partial((described["features"] - self.mean) / self.spread).double()
        return LARGEST_PARTIAL * output.tanh()

    def _likelihood(self, described: dict[str, Tensor], pull: Tensor) -> Tensor:
        """Negative logarithm of the likelihood of pulls [P, 3], less that without correlations."""
        a, b, c = self._partial(described).unbind(-1)
        first, second, third = pull.clamp(-3, 3).unbind(-1)
        alone = second.square() + third.square()
        rest_a, rest_b, rest_c = ((1 - value.square()).sqrt() for value in (a, b, c))
        second = (second - a * first) / rest_a
        third = (third - b * first - c * rest_b * second) / (rest_b * rest_c)
        return (second.square() + third.square() - alone) / 2 + (rest_a * rest_b * rest_c).log()

    def loss(self, described: dict[str, Tensor], true: Tensor) -> Tensor:
        """Mean loss of some tracks.

        Args:
            described: What `describe` returned, of P tracks.
            true: True q / pT, eta and phi [P, 3].
        """
        estimate, error = self(described)
        residual = estimate - true
        residual = torch.cat([residual[..., :2], wrap_angle(residual[..., 2:])], dim=-1)  # [P, 3]
        pull = residual / (described["units"] if self.fit_errors else _units(true[..., 0]))
        value = (pull.square() / 2).log1p() + 0.03 * pull.abs().clamp(max=200)
        distance = (residual.detach().abs() + 1e-9).log() - error.log()
        quantile = torch.maximum(CENTRAL * distance, (CENTRAL - 1) * distance)
        likelihood = self._likelihood(described, residual.detach() / error.detach())
        return (value + quantile).mean() + likelihood.mean() + _bias(pull[..., 0], true[..., 0])

    def scale_features(self, features: Tensor) -> None:
        """Takes mean and spread of the features from a sample.

        Args:
            features: [P, F].
        """
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0) + 1e-6)


def _bias(pull: Tensor, qpt: Tensor) -> Tensor:
    """Mean square of the bias of the size of q / pT in groups of tracks of about equal size, from pulls [P]."""
    order = qpt.abs().argsort()
    groups = min(GROUPS, len(order))
    size = len(order) // groups
    score = qpt.sign() * pull / (1 + pull.square() / 2)
    return score[order][: groups * size].view(groups, size).mean(1).square().mean()


def _units(qpt: Tensor) -> Tensor:
    """About the resolution of q / pT, eta and phi [..., 3] of a track."""
    size = qpt.abs()
    angle = 0.002 + 0.1 * size
    return torch.stack([0.025 * size + 2e-4, angle, angle], dim=-1)
