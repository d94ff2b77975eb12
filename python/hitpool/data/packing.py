"""Batches on their way from a worker process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from hitpool.data.dataset import Batch

Entry = tuple[int, str, torch.dtype, torch.Size, int]  # part of the batch, name, type, shape, first byte


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
        batch: Dictionaries of tensors; unpickling gives them back.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __reduce__(self) -> tuple[Callable[..., Batch], tuple[Tensor, list[Entry]]]:
        tensors = [(part, name, tensor) for part, named in enumerate(self.batch) for name, tensor in named.items()]
        tensors.sort(key=lambda entry: -entry[2].itemsize)  # so that each begins at a multiple of its item size
        entries, size = [], 0
        for part, name, tensor in tensors:
            entries.append((part, name, tensor.dtype, tensor.shape, size))
            size += tensor.nbytes
        return unpack, (torch.cat([tensor.reshape(-1).view(torch.uint8) for _, _, tensor in tensors]), entries)


def unpack(packed: Tensor, entries: list[Entry]) -> Batch:
    """Gives back the batch of a ``Packed``, without copying.

    Args:
        packed: Bytes of all tensors, uint8.
        entries: Where they are.

    Returns:
        The dictionaries.
    """
    batch: Batch = ({}, {})
    for part, name, dtype, shape, first in entries:
        size = shape.numel() * dtype.itemsize
        batch[part][name] = packed[first : first + size].view(dtype).view(shape)
    return batch
