"""The layout in which the framework Athena of ATLAS takes ONNX models of one event."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hitpool.export.deployed import DeployedModel

ONE_EVENT = "hit_features"  # what its loader calls the input for a sequence of hits
SEQUENCE = "hits"
VERSION = "v1"  # of what it reads in `gnn_config`


class AthenaModel(nn.Module):
    """A model of one event, all hits of which are valid, with an output for each slot and quantity.

    Args:
        model: The model.
        name: The beginning of the names of its outputs; letters and digits, since it ends at the first underscore.

    Raises:
        ValueError: The name has other characters.
    """

    def __init__(self, model: DeployedModel, name: str) -> None:
        super().__init__()
        if not re.fullmatch("[A-Za-z][A-Za-z0-9]*", name):
            raise ValueError(f"onnx export: the name of the model must be of letters and digits, got {name!r}")
        self.model = model
        self.outputs = output_names(model, name)

    def forward(self, hits: Tensor) -> tuple[Tensor, ...]:
        """Predicts the tracks of an event.

        Args:
            hits: Hits as on disk, float32 [M, C].

        Returns:
            For each slot the parameters and the probability of the track, without dimensions, and the probability of
            each hit [M].
        """
        valid = torch.ones(1, hits.shape[0], dtype=torch.bool)
        parameters, track, hit = self.model(hits.unsqueeze(0), valid)  # [1, N, K], [1, N], [1, N, M]
        results: list[Tensor] = []
        for slot in range(track.shape[1]):
            results += [*parameters[0, slot].unbind(0), track[0, slot], hit[0, slot]]
        return tuple(results)


def output_names(model: DeployedModel, name: str) -> list[str]:
    """Names of the outputs: `<name>_<object><slot>_<quantity>`.

    Args:
        model: The model.
        name: Name of the model.
    """
    track = model.valid_task.output_object
    quantities = [*model.parameters_out, "probability", "hit_probability"]
    slots = range(model.network.decoder.num_queries)
    return [f"{name}_{track}{slot}_{quantity}" for slot in slots for quantity in quantities]


def gnn_config(model: DeployedModel, name: str) -> dict[str, Any]:
    """What the file says about its inputs and outputs; numbers are taken as on disk, so offsets are 0 and scales 1.

    Args:
        model: The model.
        name: Name of the model.
    """
    variables = [{"name": column, "offset": 0.0, "scale": 1.0} for column in model.columns]
    return {
        "onnx_model_version": VERSION,
        "model_name": name,
        "inputs": [],
        "input_sequences": [{"name": SEQUENCE, "variables": variables}],
        "output_names": output_names(model, name),
    }


def gather_events(
    events: Sequence[Sequence[Tensor]], valid: Tensor, ranks: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Puts the outputs for several events together, as `DeployedModel.forward` returns them.

    Args:
        events: Outputs of each of B events.
        valid: Which of the hits each event had, bool [B, M].
        ranks: Numbers of dimensions of the outputs.

    Returns:
        Parameters [B, N, K], probabilities of tracks [B, N] and of hits [B, N, M], 0 where hits are not valid.
    """
    slots = sum(ranks)  # each has one output of rank 1
    size = len(ranks) // slots
    numbers, hit = torch.empty(len(events), slots, size - 1), torch.zeros(len(events), slots, valid.shape[1])
    for event, (outputs, chosen) in enumerate(zip(events, valid, strict=True)):
        for slot in range(slots):
            *scalars, of_hits = outputs[slot * size : (slot + 1) * size]
            numbers[event, slot] = torch.stack(scalars)
            hit[event, slot, chosen] = of_hits
    return numbers[..., :-1].contiguous(), numbers[..., -1].contiguous(), hit
