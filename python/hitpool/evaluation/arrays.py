"""What a model says of a batch as NumPy arrays, and its hits as they are on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hitpool.data import EventDataset


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """Array of a tensor; floating point numbers become float64.

    Args:
        tensor: On any device.
    """
    tensor = tensor.detach().cpu()
    return tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()


def kept_on_disk(dataset: EventDataset, number: int) -> NDArray[np.bool_]:
    """Which hits of an event on disk are in its batches, [hits on disk].

    Args:
        dataset: The events.
        number: Number of the event in the folder.
    """
    return dataset.kept_hits(int(np.searchsorted(dataset.sample_id, number)))


def on_disk(dataset: EventDataset, number: int, assigned: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Hits of tracks among the hits of an event on disk, [N, hits on disk]; none that a hit filter drops.

    Args:
        dataset: The events.
        number: Number of the event in the folder.
        assigned: Hits of the tracks in a batch, with its padding, [N, M].
    """
    kept = kept_on_disk(dataset, number)
    stored = np.zeros((len(assigned), len(kept)), bool)
    stored[:, kept] = assigned[:, : kept.sum()]
    return stored
