"""Between targets in physical units and the numbers that a network learns."""

import math

import torch
from torch import Tensor, nn

from hitpool.nn.angle import wrap_angle
from hitpool.nn.precision import at_least_float32
from hitpool.nn.recorded import is_recorded

INVERSE_RANGE = (1e-3, 1e5)  # no measured value is outside, whatever its unit


class TargetSpace(nn.Module):
    r"""The learned space: $z = (u - \mathrm{mean}) / \mathrm{spread}$, where u is the target, or its inverse.

    Args:
        fields: Regressed fields, in the order of the last dimension.
        inverse_fields: Positive fields that are learned as 1 / value.
        periodic_fields: Angles: differences are wrapped, predictions lie in (-pi, pi].
        sign_fields: Fields of +1 and -1 that are learned as the logit of +1.
        prediction_range: Lowest and highest prediction of a field, in physical units; (1e-3, 1e5) for inverse
            fields that are not named.
        standardize: Mean and spread of a field in the space of u; or true, to take them from `fit`.
            Fields that are not named, and sign fields, have mean 0 and spread 1.

    Raises:
        ValueError: An option names a field that is not regressed, options contradict, or numbers make no
            sense.
    """

    mean: Tensor
    spread: Tensor
    inverse: Tensor
    periodic: Tensor
    sign: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        fields: list[str],
        inverse_fields: list[str] | None = None,
        periodic_fields: list[str] | None = None,
        sign_fields: list[str] | None = None,
        prediction_range: dict[str, tuple[float, float]] | None = None,
        standardize: bool | dict[str, tuple[float, float]] = False,
    ) -> None:
        super().__init__()
        if not fields or len(set(fields)) < len(fields):
            raise ValueError(f"regression: fields must be one or more different names, got {fields}")
        kinds = {
            "inverse_fields": inverse_fields or [],
            "periodic_fields": periodic_fields or [],
            "sign_fields": sign_fields or [],
        }
        scaled = standardize if isinstance(standardize, dict) else {}
        ranges = dict(prediction_range or {})
        for option, names in {**kinds, "prediction_range": ranges, "standardize": scaled}.items():
            if unknown := [name for name in names if name not in fields]:
                raise ValueError(f"regression: {option} names {unknown}, which are not among fields {fields}")
        for field in fields:
            if len(given := [option for option, names in kinds.items() if field in names]) > 1:
                raise ValueError(f"regression: field {field} is in {' and '.join(given)}; keep one of them")
        for field in kinds["inverse_fields"]:
            ranges.setdefault(field, INVERSE_RANGE)
            if not 0 < ranges[field][0] < math.inf or ranges[field][1] == math.inf:
                raise ValueError(f"regression: prediction_range of inverse field {field} must be positive and finite")
        for field, (low, high) in ranges.items():
            if not low < high:
                raise ValueError(f"regression: prediction_range of {field} must be [low, high], got [{low}, {high}]")
        for field, (mean, spread) in scaled.items():
            if not (math.isfinite(mean) and 0 < spread < math.inf):
                raise ValueError(f"regression: standardize of {field} needs a spread above 0, got [{mean}, {spread}]")
        self.fields = list(fields)
        self.inverse_fields = kinds["inverse_fields"]
        self.standardize = standardize

        def row(values: list) -> Tensor:
            return torch.tensor(values)

        self.register_buffer("inverse", row([f in kinds["inverse_fields"] for f in fields]), persistent=False)  # [K]
        self.register_buffer("periodic", row([f in kinds["periodic_fields"] for f in fields]), persistent=False)
        self.register_buffer("sign", row([f in kinds["sign_fields"] for f in fields]), persistent=False)
        bounds = [ranges.get(field, (-math.inf, math.inf)) for field in fields]
        self.register_buffer("low", row([float(low) for low, _ in bounds]), persistent=False)
        self.register_buffer("high", row([float(high) for _, high in bounds]), persistent=False)
        pairs = [scaled.get(field, (0.0, 1.0)) for field in fields]
        if standardize is True:  # NaN until `fit`, so that nothing can be predicted without them
            pairs = [(0.0, 1.0) if field in kinds["sign_fields"] else (math.nan, math.nan) for field in fields]
        self.register_buffer("mean", row([float(mean) for mean, _ in pairs]))
        self.register_buffer("spread", row([float(spread) for _, spread in pairs]))

    @torch.no_grad()
    def fit(self, values: dict[str, Tensor]) -> None:
        """Take mean and spread of each field from data; does nothing unless `standardize` is true.

        A field that has only one value gets spread 1.

        Args:
            values: Targets of the training sample [n] in physical units by field; further ones are ignored.

        Raises:
            ValueError: A field is missing, or holds nothing, NaN, Inf or, if inverse, values of 0 or below.
        """
        if self.standardize is not True:
            return
        mean, spread = self.mean.tolist(), self.spread.tolist()
        for k, field in enumerate(self.fields):
            if self.sign[k]:
                continue
            if field not in values:
                raise ValueError(f"standardize: no values of {field} were given, only of {sorted(values)}")
            value = values[field].double()
            if not len(value):
                raise ValueError(f"standardize: {field} needs values, got none: the events have no true particle")
            if not value.isfinite().all():
                raise ValueError(f"standardize: {field} needs finite values, got {len(value)} of which some are not")
            if self.inverse[k]:
                if (value <= 0).any():
                    raise ValueError(f"standardize: inverse field {field} has value {value.min():g}, must be above 0")
                value = 1 / value
            mean[k] = value.mean().item()
            constant = value.max() == value.min()
            spread[k] = 1.0 if constant else value.std(correction=0).item()
        self.mean.copy_(torch.tensor(mean))
        self.spread.copy_(torch.tensor(spread))

    def check_known(self, task: str) -> None:
        """Refuse to go on without mean and spread; what is recorded or compiled is not checked.

        Args:
            task: Name of the task.

        Raises:
            ValueError: `standardize` is true, and there was neither `fit` nor a checkpoint of a training.
        """
        if self.standardize is not True or is_recorded():
            return
        if self.spread.isnan().any():
            raise ValueError(
                f"task {task}: standardize is true, and mean and spread of the targets are not known yet: train, load "
                "the checkpoint of a training, call fit_standardization, or give them by field"
            )

    def learnable(self, physical: Tensor) -> Tensor:
        """Which targets can be learned: those of inverse fields only above 0.

        Args:
            physical: [..., K] in physical units.

        Returns:
            bool [..., K].
        """
        return ~self.inverse | (physical > 0)

    def limited(self, physical: Tensor) -> Tensor:
        """Which predictions are at an end of `prediction_range`.

        Args:
            physical: [..., K] as `decode` gives them.

        Returns:
            bool [..., K].
        """
        return torch.isclose(physical, self.low, atol=0.0) | torch.isclose(physical, self.high, atol=0.0)

    def encode(self, physical: Tensor) -> Tensor:
        """Targets in the learned space.

        Args:
            physical: [..., K] in physical units.

        Returns:
            [..., K]; sign fields as they are.
        """
        # 1 / 0 of other fields would make their gradients NaN
        value = torch.where(self.inverse, 1 / torch.where(self.inverse, physical, 1.0), physical)
        return (value - self.mean) / self.spread

    def decode(self, learned: Tensor) -> Tensor:
        """Predictions in physical units.

        Args:
            learned: [..., K].

        Returns:
            [..., K]: within `prediction_range`, angles in (-pi, pi], signs +1 or -1.
        """
        value = at_least_float32(learned) * self.spread + self.mean
        value = torch.where(self.inverse, 1 / torch.where(self.inverse, value.clamp(min=1 / self.high), 1.0), value)
        value = torch.where(self.periodic, wrap_angle(value), value)
        value = torch.where(self.sign & ~value.isnan(), torch.where(value < 0, -1.0, 1.0), value)
        return value.clamp(self.low, self.high)

    def difference(self, learned: Tensor, target: Tensor) -> Tensor:
        """Prediction minus target in the learned space; angles by the shorter way round.

        Args:
            learned: [..., K].
            target: [..., K], encoded.

        Returns:
            [..., K].
        """
        difference = learned - target
        period = 2 * math.pi / self.spread
        return difference - torch.where(self.periodic, (difference / period).round() * period, 0.0)
