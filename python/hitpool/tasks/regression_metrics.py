"""Numbers that say how good the predicted fields of a batch are."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitpool.quantity import quantity_of
from hitpool.residuals import mean, periodic_residual, relative_residual, residual, right_charge, rms, sigma68
from hitpool.tasks.target_space import TargetSpace

SUMMARIES = {"mean": mean, "sigma68": sigma68, "rms": rms}


def regression_metrics(
    space: TargetSpace, predicted: Mapping[str, Tensor], physical: Tensor, quantiles: Sequence[str]
) -> dict[str, Tensor]:
    """Metrics of matched predictions; see `RegressionTask.metrics`.

    Args:
        space: The fields.
        predicted: Predictions [P] in physical units by field, errors `<field>_error`, and quantiles.
        physical: Targets [P, K] in physical units; those that cannot be learned do not count.
        quantiles: Quantiles `<field>_<quantile>` that are predicted.

    Returns:
        0-dim tensors by name.
    """
    limited = _numpy(space.limited(torch.stack([predicted[field] for field in space.fields], dim=-1)))
    learnable, known = space.learnable(physical).cpu().numpy(), {name: _numpy(row) for name, row in predicted.items()}
    metrics: dict[str, float | NDArray[np.float64]] = {}
    for k, (field, true) in enumerate(zip(space.fields, _numpy(physical).T, strict=True)):
        some, quantity = learnable[:, k], quantity_of(field)
        if not some.any():
            continue
        pred, true = known[field][some], true[some]
        if space.sign[k] or quantity == "q":
            metrics[f"{field}_accuracy"] = mean(right_charge(pred, true))
            continue
        difference = (periodic_residual if space.periodic[k] or quantity == "phi" else residual)(pred, true)
        metrics |= _summaries(f"{field}_res", difference)
        if space.inverse[k] or quantity == "pt":
            metrics |= _summaries(f"{field}_rel_res", relative_residual(pred, true))
        if space.low[k].isfinite() or space.high[k].isfinite():
            metrics[f"{field}_limited"] = mean(limited[some, k])
        if (errors := known.get(f"{field}_error")) is not None:
            pull = difference / errors[some]
            metrics |= {f"{field}_pull_mean": mean(pull), f"{field}_pull_sigma68": sigma68(pull)}
        metrics |= {f"{field}_below_{name}": mean(true <= known[f"{field}_{name}"][some]) for name in quantiles}
    return dict(zip(metrics, physical.new_tensor(list(metrics.values())), strict=True))


def _summaries(label: str, values: NDArray[np.float64]) -> dict[str, float | NDArray[np.float64]]:
    return {f"{label}_{name}": number(values) for name, number in SUMMARIES.items()}


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().double().numpy()
