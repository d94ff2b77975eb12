"""Predicted and true tracks of many events, in the compact form from which every number is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EventTracks:
    """Particles and predicted tracks of E events in N slots, with the numbers of hits they share.

    Slot i of the tracks belongs to slot i of the particles if the predictions were matched to the truth.

    Args:
        event: Number of the event in its data set, [E] integers.
        particle_valid: Whether the slot holds a particle, [E, N] bool.
        track_valid: Whether the slot holds a track that the model declares valid, [E, N] bool.
        particle_hits: True hits of each particle, [E, N] integers.
        track_hits: Hits assigned to each track, [E, N] integers.
        shared_hits: Hits of particle i that are assigned to track j, [E, N, N] integers.
        num_hits: Hits of the event, [E] integers.
        true: True parameters of the particles by field, [E, N] each; NaN in empty slots.
        predicted: Predicted parameters of the tracks by field, [E, N] each.
    """

    event: NDArray[np.int64]
    particle_valid: NDArray[np.bool_]
    track_valid: NDArray[np.bool_]
    particle_hits: NDArray[np.int64]
    track_hits: NDArray[np.int64]
    shared_hits: NDArray[np.int64]
    num_hits: NDArray[np.int64]
    true: dict[str, NDArray[np.float64]]
    predicted: dict[str, NDArray[np.float64]]

    @classmethod
    def from_masks(
        cls,
        event: NDArray[np.int64],
        particle_valid: NDArray[np.bool_],
        track_valid: NDArray[np.bool_],
        particle_hit_valid: NDArray[np.bool_],
        track_hit_valid: NDArray[np.bool_],
        hit_valid: NDArray[np.bool_],
        true: dict[str, NDArray[np.float64]],
        predicted: dict[str, NDArray[np.float64]],
    ) -> EventTracks:
        """Counts the hits of one batch.

        Args:
            event: Number of the event in its data set, [E] integers.
            particle_valid: Whether the slot holds a particle, [E, N].
            track_valid: Whether the model declares the track valid, [E, N].
            particle_hit_valid: Whether hit m belongs to particle i, [E, N, M].
            track_hit_valid: Whether the model assigns hit m to track j, [E, N, M].
            hit_valid: False in padded hits, which are not counted, [E, M].
            true: True parameters by field, [E, N] each.
            predicted: Predicted parameters by field, [E, N] each.

        Returns:
            The tracks of the batch.

        Raises:
            ValueError: If the shapes do not fit together.
        """
        slots, hits = particle_valid.shape, hit_valid.shape
        expected = {
            "event": (event, slots[:1]),
            "track_valid": (track_valid, slots),
            "particle_hit_valid": (particle_hit_valid, slots + hits[1:]),
            "track_hit_valid": (track_hit_valid, slots + hits[1:]),
            **{f"true {field}": (values, slots) for field, values in true.items()},
            **{f"predicted {field}": (values, slots) for field, values in predicted.items()},
        }
        for name, (array, shape) in expected.items():
            if array.shape != shape:
                raise ValueError(f"EventTracks: {name} needs shape {shape}, got {array.shape}")
        belongs = particle_hit_valid & hit_valid[:, None] & particle_valid[..., None]  # [E, N, M]
        assigned = track_hit_valid & hit_valid[:, None]  # [E, N, M]
        # float32 counts exactly up to 2^24 and multiplies much faster than integers
        shared = belongs.astype(np.float32) @ assigned.astype(np.float32).swapaxes(1, 2)  # [E, N, N]
        return cls(
            event=event.astype(np.int64),
            particle_valid=particle_valid,
            track_valid=track_valid,
            particle_hits=belongs.sum(-1, dtype=np.int64),
            track_hits=assigned.sum(-1, dtype=np.int64),
            shared_hits=shared.astype(np.int64),
            num_hits=hit_valid.sum(-1, dtype=np.int64),
            true={field: values.astype(np.float64) for field, values in true.items()},
            predicted={field: values.astype(np.float64) for field, values in predicted.items()},
        )

    def __len__(self) -> int:
        return len(self.event)

    def select(self, index: NDArray) -> EventTracks:
        """Picks events.

        Args:
            index: Event indices (repetitions allowed) or a mask [E].

        Returns:
            The chosen events, in that order.
        """
        return EventTracks(
            **{
                item.name: {key: array[index] for key, array in value.items()}
                if isinstance(value := getattr(self, item.name), dict)
                else value[index]
                for item in fields(self)
            }
        )

    @staticmethod
    def concatenate(parts: Sequence[EventTracks]) -> EventTracks:
        """Joins batches; an event that occurs twice (padding of a distributed sampler) is kept once.

        Args:
            parts: At least one batch, all with the same slots and fields.

        Returns:
            All events, ordered by their number in the data set.

        Raises:
            ValueError: If there is no batch.
        """
        if not parts:
            raise ValueError("EventTracks.concatenate: needs at least one batch, got none")
        joined = EventTracks(
            **{
                item.name: {key: np.concatenate([getattr(part, item.name)[key] for part in parts]) for key in first}
                if isinstance(first := getattr(parts[0], item.name), dict)
                else np.concatenate([getattr(part, item.name) for part in parts])
                for item in fields(parts[0])
            }
        )
        return joined.select(np.unique(joined.event, return_index=True)[1])
