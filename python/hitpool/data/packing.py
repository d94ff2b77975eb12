"""Batches on their way from a worker process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from hitpool.data.dataset import Batch
from hitpool.hits import Hits

Entry = tuple[str, torch.dtype, torch.Size, int]  # name, type, shape, first byte


def collate(batch: Batch) -> Any:
    """Gives a batch as it is, in a worker process such that it travels as one tensor.

    Args:
        batch: What ``EventDataset`` gives.

    Returns:
        The same; what the main process gets from a worker is the same, too.
    """
    return batch if get_worker_info() is None else Packed(batch)


class Packed:
    """Pickled as one tensor with the bytes of all: each tensor of its own would cost a file descriptor.

    Args:
        batch: Hits and targets; unpickling gives them back.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __reduce__(self) -> tuple[Callable[..., Batch], tuple[Tensor, list[Entry], str, list[str]]]:
        hits, targets = self.batch
        tensors = [("table", hits.table), ("valid", hits.valid), *targets.items()]
        tensors.sort(key=lambda entry: -entry[1].itemsize)  # so that each begins at a multiple of its item size
        entries, size = [], 0
        for name, tensor in tensors:
            entries.append((name, tensor.dtype, tensor.shape, size))
            size += tensor.nbytes
        packed = torch.cat([tensor.reshape(-1).view(torch.uint8) for _, tensor in tensors])
        return unpack, (packed, entries, hits.name, hits.fields)


def unpack(packed: Tensor, entries: list[Entry], name: str, fields: list[str]) -> Batch:
    """Gives back the batch of a ``Packed``, without copying.

    Args:
        packed: Bytes of all tensors, uint8.
        entries: Where they are.
        name: Kind of hits.
        fields: Their fields.

    Returns:
        Hits and targets.
    """
    tensors = {}
    for own, dtype, shape, first in entries:
        size = shape.numel() * dtype.itemsize
        tensors[own] = packed[first : first + size].view(dtype).view(shape)
    return Hits(name, fields, tensors.pop("table"), tensors.pop("valid")), tensors
