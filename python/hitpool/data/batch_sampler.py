"""Batches of events of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import DistributedSampler

_POOL_BATCHES = 32


class LengthGroupedBatchSampler(DistributedSampler[list[int]]):
    """Cuts the events into batches of similar hit count, in an order that depends on seed and epoch alone.

    Every epoch the events are shuffled and cut into pools of 32 batches (at least one for each rank); in each
    pool they are sorted by length and cut into batches, and the batches of all pools are shuffled. So batches
    have little padding, and their members and order change from epoch to epoch. No global random state is
    read or changed.

    Each event comes once per epoch over all ranks, and each rank gets the same number of batches: the number
    of batches is rounded up to a multiple of the ranks, and their sizes are made equal up to one event (so
    there is no small last batch, and ``batch_size`` is the largest size, except that a ``batch_size`` of 1
    becomes 2 here and there if the ranks do not divide the events). At each step the ranks get batches of one
    pool that are neighbours in length.

    Use it as ``DataLoader(dataset, sampler=sampler, batch_size=None, collate_fn=...)``. It is a
    ``DistributedSampler`` so that Lightning calls ``set_epoch`` and does not put a sampler of its own in its
    place.

    Args:
        lengths: Hits of each event, [events].
        batch_size: Most events in a batch of one rank.
        seed: Seed of the order.
        group_by_length: False gives batches of random events.
        reshuffle: False gives the order of epoch 0 in every epoch.
        num_replicas: Number of ranks.
        rank: This rank.

    Raises:
        ValueError: If the batch size is below 1, or there are fewer events than ranks.

    Example:
        >>> sampler = LengthGroupedBatchSampler([5, 1, 9, 5, 1, 9], batch_size=2, seed=1)
        >>> sorted(sorted(batch) for batch in sampler)
        [[0, 3], [1, 4], [2, 5]]
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        batch_size: int,
        seed: int = 0,
        group_by_length: bool = True,
        reshuffle: bool = True,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        if not 0 <= rank < num_replicas:
            raise ValueError(f"rank: expected 0 to {num_replicas - 1}, got {rank}")
        if len(lengths) < num_replicas:
            raise ValueError(f"expected at least one event for each of {num_replicas} ranks, got {len(lengths)} events")
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.group_by_length = group_by_length
        self.reshuffle = reshuffle
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self._done = (0, 0)

    def __len__(self) -> int:
        """Number of batches of each rank."""
        steps = -(-len(self.lengths) // (self.batch_size * self.num_replicas))
        return min(steps, len(self.lengths) // self.num_replicas)  # no empty batch

    def continue_epoch(self, epoch: int, batches: int) -> None:
        """Goes to a place inside an epoch.

        Args:
            epoch: The epoch.
            batches: Number of its batches that this rank had already; the others come, in the same order.
        """
        self.set_epoch(epoch)
        self._done = (epoch, batches)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch if self.reshuffle else 0])
        order = random.permutation(len(self.lengths))
        steps, ranks = len(self), self.num_replicas
        first = np.arange(steps * ranks + 1) * len(order) // (steps * ranks)  # of each batch
        if self.group_by_length:
            pool_steps = max(1, _POOL_BATCHES // ranks)
            for start in range(0, steps, pool_steps):
                stop = min(start + pool_steps, steps)
                pool = order[first[start * ranks] : first[stop * ranks]]
                pool[:] = pool[np.argsort(self.lengths[pool], kind="stable")]
        epoch, done = self._done
        for step in random.permutation(steps)[done if epoch == self.epoch else 0 :]:
            batch = step * ranks + self.rank
            yield order[first[batch] : first[batch + 1]].tolist()
