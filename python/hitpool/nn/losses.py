"""Losses and matching costs of object validity and of hit masks.

A loss compares matched predictions with their targets and returns a 0-dim tensor. A cost compares every
prediction with every target and returns [B, N, N] (event, prediction, target). Both work in float32, or in the
float64 of the logits.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import softplus

from hitpool.nn.precision import at_least_float32

FOCAL_GAMMA = 2.0


def object_bce_loss(logit: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy, weighted, mean over all slots.

    Args:
        logit: [B, N].
        target: bool [B, N].
        weight: [B, N].
    """
    logit = at_least_float32(logit)
    return _mean(bce(logit, target.to(logit.dtype), reduction="none"), weight, logit.numel())


def object_bce_cost(logit: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of each prediction with each target.

    Args:
        logit: [B, N].
        target: bool [B, N].
    """
    logit = at_least_float32(logit).unsqueeze(-1)  # [B, N, 1]
    return softplus(logit) - logit * target.unsqueeze(-2)


def _focal_factor(logit: Tensor, target: Tensor) -> Tensor:
    return torch.where(target, logit.neg(), logit).sigmoid() ** FOCAL_GAMMA


def _mean(value: Tensor, weight: Tensor, count: Tensor | int) -> Tensor:
    return (value * weight).sum() / torch.as_tensor(count).clamp(min=1)


def _weighted_rows(logit: Tensor, target: Tensor, valid: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """The rows [B, N, M] that have a weight, as [P, 1, M]; all rows where a selection would wait for a GPU."""
    if weight.device.type != "cpu":
        return logit, target, valid, weight
    chosen = weight.squeeze(-1) != 0  # [B, N]
    if chosen.all():
        return logit, target, valid, weight
    rows = (logit, target, valid.expand(-1, logit.shape[1], -1), weight)
    return tuple(tensor[chosen].unsqueeze(1) for tensor in rows)


def mask_bce_loss(logit: Tensor, target: Tensor, valid: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy, weighted per object, mean over objects and valid hits.

    Args:
        logit: [B, N, M].
        target: bool [B, N, M].
        valid: bool [B, 1, M], False at padded hits.
        weight: [B, N, 1].
    """
    count = valid.sum() * logit.shape[1]
    logit, target, valid, weight = _weighted_rows(logit, target, valid, weight)
    logit = torch.where(valid, at_least_float32(logit), 0.0)
    loss = bce(logit, target.to(logit.dtype), reduction="none")
    return _mean(loss, valid * weight, count)


def mask_focal_loss(logit: Tensor, target: Tensor, valid: Tensor, weight: Tensor) -> Tensor:
    """Focal loss (gamma = 2), weighted per object, mean over objects and valid hits.

    Args:
        logit: [B, N, M].
        target: bool [B, N, M].
        valid: bool [B, 1, M], False at padded hits.
        weight: [B, N, 1].

    Source: Lin et al., Focal loss for dense object detection (arXiv:1708.02002).
    """
    count = valid.sum() * logit.shape[1]
    logit, target, valid, weight = _weighted_rows(logit, target, valid, weight)
    logit = torch.where(valid, at_least_float32(logit), 0.0)
    loss = bce(logit, target.to(logit.dtype), reduction="none") * _focal_factor(logit, target)
    return _mean(loss, valid * weight, count)


def mask_dice_loss(logit: Tensor, target: Tensor, valid: Tensor, weight: Tensor) -> Tensor:
    """Dice loss, weighted per object, mean over objects.

    Args:
        logit: [B, N, M].
        target: bool [B, N, M].
        valid: bool [B, 1, M], False at padded hits.
        weight: [B, N, 1].

    Source: Milletari et al., V-Net (arXiv:1606.04797).
    """
    slots = weight.numel()
    logit, target, valid, weight = _weighted_rows(logit, target, valid, weight)
    prob = torch.where(valid, at_least_float32(logit), 0.0).sigmoid() * valid  # [B, N, M]
    true = target & valid
    dice = 1 - (2 * (prob * true).sum(-1) + 1) / (prob.sum(-1) + true.sum(-1) + 1)  # [B, N]
    return _mean(dice, weight.squeeze(-1), slots)


def mask_bce_cost(logit: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy of each prediction with each target, mean over valid hits.

    Args:
        logit: [B, N, M].
        target: bool [B, N, M].
        valid: bool [B, 1, M], False at padded hits.
    """
    logit = torch.where(valid, at_least_float32(logit), 0.0)
    # softplus(-x) = softplus(x) - x
    total = (softplus(logit) * valid).sum(-1, keepdim=True) - logit @ target.to(logit.dtype).mT
    return total / valid.sum(-1, keepdim=True).clamp(min=1)


def mask_focal_cost(logit: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Focal loss of each prediction with each target, mean over valid hits.

    Args:
        logit: [B, N, M].
        target: bool [B, N, M].
        valid: bool [B, 1, M], False at padded hits.
    """
    logit = torch.where(valid, at_least_float32(logit), 0.0)
    positive = softplus(-logit) * logit.neg().sigmoid() ** FOCAL_GAMMA * valid
    negative = softplus(logit) * logit.sigmoid() ** FOCAL_GAMMA * valid
    total = negative.sum(-1, keepdim=True) + (positive - negative) @ target.to(logit.dtype).mT
    return total / valid.sum(-1, keepdim=True).clamp(min=1)


def mask_dice_cost(logit: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Dice loss of each prediction with each target.

    Args:
        logit: [B, N, M].
        target: bool [B, N, M].
        valid: bool [B, 1, M], False at padded hits.
    """
    prob = torch.where(valid, at_least_float32(logit), 0.0).sigmoid() * valid
    true = (target & valid).to(prob.dtype)
    return 1 - (2 * prob @ true.mT + 1) / (prob.sum(-1, keepdim=True) + true.sum(-1).unsqueeze(-2) + 1)


OBJECT_LOSSES = {"object_bce": object_bce_loss}
OBJECT_COSTS = {"object_bce": object_bce_cost}
MASK_LOSSES = {"mask_bce": mask_bce_loss, "mask_focal": mask_focal_loss, "mask_dice": mask_dice_loss}
MASK_COSTS = {"mask_bce": mask_bce_cost, "mask_focal": mask_focal_cost, "mask_dice": mask_dice_cost}
