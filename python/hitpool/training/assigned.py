"""Events with the assignment of a network that is trained."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from hitpool.nn import MaskFormer
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask

Tensors = dict[str, Tensor]


def assigned(
    network: MaskFormer, task: WeightedPoolingObjectHitRegressionTask, batches: Iterable[Any], device: torch.device
) -> Iterator[tuple[Tensors, Tensors, Tensor]]:
    """Runs a network over events.

    Args:
        network: The network, in evaluation mode.
        task: Its task that reads the assignment.
        batches: Inputs and targets, batch by batch.
        device: Where it computes.

    Yields:
        Inputs and targets on `device`, and assignment logits [B, N, M] in the order of the particles.
    """
    for inputs, targets in batches:
        inputs, targets = move_data_to_device((inputs, targets), device)
        matched = network.match(network(inputs, intermediate=False), targets)["final"]
        logits = next(outputs[task.logit_key] for outputs in matched.values() if task.logit_key in outputs)
        yield inputs, targets, logits
