"""What the kernels have to compute: weighted_pool and its gradients by the formulas, in float64.

Only the selection is taken in the arithmetic of the call, as the contract says.
"""

import torch
from torch import Tensor

from .kernels import Call

FLOOR = 1e-8  # under the sum of weights


def selection(call: Call) -> Tensor:
    """[B, N, M]: NaN counts as selected."""
    probability = call.logits.to(call.arithmetic).sigmoid()
    selected = ~(probability < torch.tensor(call.threshold, dtype=call.arithmetic))
    return selected if call.valid is None else selected & call.valid[:, None, :]


def extreme_hits(features: Tensor, selected: Tensor) -> Tensor:
    """The first hit with the maximum and with the minimum of each column, -1 without hits.

    Args:
        features: [B, M, D], no NaN
        selected: [B, N, M]

    Returns:
        [B, N, 2, D]
    """
    B, N, M = selected.shape
    D = features.shape[-1]
    if M == 0 or D == 0:
        return torch.full((B, N, 2, D), -1, dtype=torch.int32)
    found = []
    for sign in (1, -1):
        x = torch.where(selected.unsqueeze(-1), sign * features.double().unsqueeze(1), -torch.inf)  # [B, N, M, D]
        first = (x == x.amax(2, keepdim=True)) & selected.unsqueeze(-1)
        found.append(torch.where(first.any(2), first.int().argmax(2), -1))  # argmax: the first
    return torch.stack(found, 2).int()


def expected(call: Call) -> dict[str, tuple[Tensor, Tensor]]:
    """Of each result: its value, and the sum of the magnitudes of what is added up for it.

    Args:
        call: Finite logits, features and gradients.
    """
    selected = selection(call)
    index = extreme_hits(call.features, selected)
    chosen, hit = index >= 0, index.clamp_min(0).long()
    x, p = call.features.double(), torch.where(selected, call.logits.double().sigmoid(), 0.0)
    weight_sum = p.sum(2)  # [B, N]
    S = weight_sum.clamp_min(FLOOR).unsqueeze(-1)
    grad_mean, grad_sum, grad_max, grad_min = call.grad.double().unbind(2)  # [B, N, D]

    def of_hits(values: Tensor) -> Tensor:  # [B, M, D] at the extreme hits, [B, N, 2, D]
        if values.shape[1] == 0:
            return torch.zeros(index.shape, dtype=torch.float64)
        return torch.where(chosen, values.unsqueeze(1).expand(-1, index.shape[1], -1, -1).gather(2, hit), 0.0)

    def to_hits(values: Tensor, extremes: Tensor) -> Tensor:  # [B, N, 2, D] added to [B, M, D]
        if values.shape[1] == 0:
            return values
        for extreme in (0, 1):
            sent = torch.where(chosen[:, :, extreme], extremes[:, :, extreme], 0.0)
            values = values.scatter_add(1, hit[:, :, extreme], sent)
        return values

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        total = p @ x
        return torch.cat([torch.stack([total / S, total], 2), of_hits(x)], 2), total

    pooled, total = forward(x)
    magnitude = forward(x.abs())[0]
    extremes = torch.stack([grad_max, grad_min], 2)
    per_weight = grad_mean / S + grad_sum  # dL/d(p x)
    pull = torch.where(weight_sum.unsqueeze(-1) < FLOOR, 0.0, (grad_mean * total / S).sum(-1, keepdim=True) / S)
    steep = p * (1 - p)
    size_per_weight = grad_mean.abs() / S + grad_sum.abs()
    size_pull = (grad_mean.abs() * (p @ x.abs()) / S).sum(-1, keepdim=True) / S
    weight_total = weight_sum.unsqueeze(-1)
    return {
        "pooled": (pooled, magnitude),
        "index": (index, torch.zeros(index.shape)),
        "sums": (torch.cat([total, weight_total], -1), torch.cat([p @ x.abs(), weight_total], -1)),
        "grad_logits": (
            steep * (per_weight @ x.mT - pull),
            p * (size_per_weight @ x.abs().mT + size_pull),
        ),
        "grad_features": (
            to_hits(p.mT @ per_weight, extremes),
            to_hits(p.mT @ size_per_weight, extremes.abs()),
        ),
    }


def differences(results: dict[str, Tensor], call: Call) -> list[str]:
    """What is not as it has to be; extrema and hits exactly, sums up to their rounding."""
    problems = []
    wanted = expected(call)
    for name, result in results.items():
        value, magnitude = wanted[name]
        if name == "index":
            if not torch.equal(result, value):
                problems.append(f"index differs in {(result != value).sum()} of {value.numel()}")
            continue
        if name == "pooled" and not torch.equal(result[:, :, 2:], value[:, :, 2:].to(result.dtype)):
            problems.append("maximum or minimum is not exact")
        rounding = (
            0.51 * torch.finfo(result.dtype).eps * value.abs() + 10 * torch.finfo(call.arithmetic).eps * magnitude
        )
        smallest = torch.finfo(result.dtype).smallest_normal if result.dtype != torch.float16 else 2.0**-24
        excess = (result.double() - value).abs() / (rounding + 1.01 * smallest)
        if not (excess <= 1).all():
            worst = excess.nan_to_num(torch.inf).max().item()
            problems.append(f"{name} differs by {worst:.3g} times the rounding")
    return problems
