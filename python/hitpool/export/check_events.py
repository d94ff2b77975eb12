"""Events on which an exported model is compared with the original: real ones, of all sizes, and the edge cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hitpool.export.deployed import DeployedModel
from hitpool.files import hits_of_events, read_index

EVENTS = 64
ALONE = 4
LONG = 600  # hits


def real_events(folder: Path, columns: Sequence[str]) -> list[Tensor]:
    """The first events of a data set that have hits.

    Args:
        folder: The data set.
        columns: Wanted columns.

    Returns:
        Hits of each as on disk, [M, C].

    Raises:
        KeyError: If it lacks a column.
        ValueError: If none of them has hits.
    """
    index = read_index(folder)
    events = hits_of_events(index, np.arange(min(EVENTS, len(index))), columns)
    found = [torch.from_numpy(hits).float() for hits in events if len(hits)]
    if not found:
        raise ValueError(
            f"export: none of the first events of {folder} has hits; choose another data set with --events"
        )
    return found


def random_events(model: DeployedModel) -> list[Tensor]:
    """Hits of the size of a detector on disk, without tracks among them.

    Args:
        model: Says which columns there are.

    Returns:
        Hits of each event, [M, C].
    """
    generator = torch.Generator().manual_seed(1)
    scale = torch.tensor(model.column_scale)
    sizes = torch.randint(1, 90, (EVENTS,), generator=generator).tolist()
    return [5 * torch.randn(size, len(scale), generator=generator) / scale for size in sizes]


def batches(events: Sequence[Tensor], is_used: Sequence[bool]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of all sizes; what must have no influence, padding and unused columns, is NaN.

    Args:
        events: Hits of each event, [M, C].
        is_used: Which columns have influence, [C].

    Yields:
        hits [B, M, C] and valid [B, M].
    """
    generator = torch.Generator().manual_seed(2)
    events = [torch.where(torch.tensor(is_used), hits, torch.nan) for hits in events]
    columns = len(is_used)
    for hits in events[:ALONE]:
        yield hits[None], torch.ones(1, len(hits), dtype=torch.bool)
    hits, valid = _padded(events)
    yield hits, valid
    few, valid = hits[:7], valid[:7] & (torch.rand(valid[:7].shape, generator=generator) >= 0.3)
    valid[0] = False  # an event without hits
    yield torch.where(valid.unsqueeze(-1), few, torch.nan), valid
    long = torch.cat([events[number % len(events)] for number in range(_enough(events))])[:LONG]
    yield long[None], torch.ones(1, len(long), dtype=torch.bool)
    yield events[0][None, :1], torch.ones(1, 1, dtype=torch.bool)
    for shape in ((0, 5), (3, 0), (0, 0)):
        yield torch.zeros(*shape, columns), torch.ones(*shape, dtype=torch.bool)


def _padded(events: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    sizes = torch.tensor([len(hits) for hits in events])
    hits = pad_sequence(list(events), batch_first=True, padding_value=torch.nan)  # [B, M, C]
    return hits, torch.arange(hits.shape[1]) < sizes[:, None]


def _enough(events: Sequence[Tensor]) -> int:
    """Number of events that have `LONG` hits together, going round."""
    sizes = np.cumsum([len(events[number % len(events)]) for number in range(LONG)])
    return int(np.searchsorted(sizes, LONG)) + 1
