"""Means of metrics that are not defined in every batch."""

import torch
from torch import Tensor


class MetricMeans:
    """Collects metrics of batches, and gives their means over all batches of all processes.

    Lightning reduces the metrics of the processes one after the other, in the order in which each process logged them:
    with a metric that is not defined in the batches of one process it would mix them up, or wait for ever.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}  # sum of value x events, and events

    def add(self, metrics: dict[str, Tensor], events: int) -> None:
        """Adds one batch.

        Args:
            metrics: The metrics that are defined in it, 0-dim tensors by name.
            events: Number of its events, the weight of the batch.
        """
        for name, value in metrics.items():
            value = value.detach().to(torch.promote_types(value.dtype, torch.float32))
            total, number = self._sums.get(name, (torch.zeros_like(value), 0))
            self._sums[name] = total.to(value.device) + value * events, number + events

    def collect(self, world_size: int) -> dict[str, float]:
        """Takes the means and starts anew, see `means`."""
        means = self.means(world_size)
        self.clear()
        return means

    def clear(self) -> None:
        """Starts anew."""
        self._sums = {}

    def state_dict(self) -> dict[str, tuple[Tensor, int]]:
        """Sums so far of this process."""
        return dict(self._sums)

    def load_state_dict(self, state: dict[str, tuple[Tensor, int]]) -> None:
        """Continues with the sums of `state_dict`."""
        self._sums = dict(state)

    def of_this_process(self) -> dict[str, Tensor]:
        """Means so far of this process, without waiting for the device."""
        return {name: total / number for name, (total, number) in self._sums.items()}

    def means(self, world_size: int) -> dict[str, float]:
        """Gives the means so far; with several processes all must call it, and all get the same.

        Args:
            world_size: Number of processes.

        Returns:
            Means by name, in alphabetical order.
        """
        parts = [{name: (total.item(), number) for name, (total, number) in self._sums.items()}]
        if world_size > 1:
            gathered: list[dict[str, tuple[float, int]]] = [{} for _ in range(world_size)]
            torch.distributed.all_gather_object(gathered, parts[0])
            parts = gathered
        means = {}
        for name in sorted(set().union(*parts)):
            sums, numbers = zip(*(part[name] for part in parts if name in part), strict=True)
            means[name] = sum(sums) / sum(numbers)
        return means
