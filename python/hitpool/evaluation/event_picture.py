"""Command that draws one event of a data set: `python -m hitpool.evaluation.event_picture --help`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hitpool.data import EventDataset
from hitpool.evaluation.event_display import Event, plot_event
from hitpool.evaluation.plots import save
from hitpool.files import data_set_name
from hitpool.muon import HIGH_EDGE, LOW_EDGE, TECHNOLOGY, TRACKS

_COLUMNS = [*LOW_EDGE, *HIGH_EDGE, TECHNOLOGY]
_TRUTH = list(TRACKS)


def read_event(data: Path, number: int, checkpoint: Path | None = None) -> Event:
    """Reads one event and, with a checkpoint, the probabilities that its model gives to the hits.

    Args:
        data: Folder of the data set.
        number: Number of the event.
        checkpoint: Checkpoint in the folder `ckpts` of a run directory.

    Returns:
        The event; with the probabilities of the tracks that the model declares valid.

    Raises:
        IndexError: If the data set does not have that many events.
    """
    dataset = EventDataset(data, {"hit": _COLUMNS}, {"particle": _TRUTH}, points={})
    if not 0 <= number < len(dataset):
        raise IndexError(f"event {number} is not in {data}: expected 0 to {len(dataset) - 1}")
    inputs, targets = dataset[number]
    columns = [inputs[f"hit_{name}"][0].numpy() for name in _COLUMNS]
    valid = targets["particle_valid"][0]
    truth = [targets[f"particle_{name}"][0][valid].numpy() for name in _TRUTH]
    return Event(
        low=np.stack(columns[:3], axis=-1),
        high=np.stack(columns[3:6], axis=-1),
        technology=columns[6],
        particle_hits=targets["particle_hit_valid"][0][valid].numpy(),
        pt=truth[0],
        eta=truth[1],
        phi=truth[2],
        charge=truth[3],
        probability=None if checkpoint is None else _probabilities(data, number, checkpoint),
    )


def _probabilities(data: Path, number: int, checkpoint: Path) -> np.ndarray:
    from hitpool.config import load_checkpoint

    objects = load_checkpoint(checkpoint)
    source = objects.datamodule
    source.test_dir, source.num_test = data, -1
    inputs, _ = source.dataset("test")[number]
    with torch.no_grad():
        network = objects.model.model
        preds = network.predict(network(inputs))["final"]
    named = {name: tensor[0] for task in preds.values() for name, tensor in task.items()}
    probabilities: np.ndarray = named["track_hit_valid_prob"][named["track_valid"]].float().numpy()
    return probabilities


def draw(
    data: Path,
    output: Path,
    event: int = 0,
    checkpoint: Path | None = None,
    threshold: float = 0.1,
    label: str | None = None,
) -> None:
    """Draws one event of a data set, seen along the beam and from the side.

    Args:
        data: Folder of the data set.
        output: PNG file to write.
        event: Number of the event.
        checkpoint: Checkpoint in the folder `ckpts` of a run directory; its model assigns the hits.
        threshold: Lowest probability of an assigned hit.
        label: Words above the picture; by default the name of the data set.
    """
    figure = plot_event(read_event(data, event, checkpoint), label or data_set_name(data), threshold)
    print(f"written: {save(figure, output)}")


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(draw, as_positional=False)
