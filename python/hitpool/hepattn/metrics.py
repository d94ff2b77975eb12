"""Metrics by the names and formulas of hepattn and of its muon fork."""

import torch
from torch import Tensor


def hepattn_metrics(field: str, pred: Tensor, true: Tensor) -> dict[str, Tensor]:
    r"""What hepattn and its fork log of a regressed field, with the plain difference e = prediction - truth.

    `_abs_res` is the mean of $|e|$ and `_abs_norm_res` that of $|e / \mathrm{truth}|$ (hepattn); `_rmse` is
    $\sqrt{\langle e^2 \rangle}$, `_mean_res` and `_std_res` are mean and standard deviation of
    $e / \mathrm{truth}$ (fork).

    Args:
        field: Its name.
        pred: Predictions [P], P > 0, in physical units.
        true: Targets [P].

    Returns:
        0-dim tensors by name, without `_std_res` if P is 1.

    Example:
        >>> metrics = hepattn_metrics("pt", torch.tensor([11.0, 45.0]), torch.tensor([10.0, 50.0]))
        >>> {name: round(value.item(), 3) for name, value in metrics.items()}
        {'pt_abs_res': 3.0, 'pt_abs_norm_res': 0.1, 'pt_rmse': 3.606, 'pt_mean_res': 0.0, 'pt_std_res': 0.141}
    """
    difference = pred.detach() - true
    relative = difference / true
    metrics = {
        "abs_res": difference.abs().mean(),
        "abs_norm_res": relative.abs().mean(),
        "rmse": difference.square().mean().sqrt(),
        "mean_res": relative.mean(),
    }
    if len(relative) > 1:
        metrics["std_res"] = torch.std(relative)
    return {f"{field}_{name}": value for name, value in metrics.items()}
