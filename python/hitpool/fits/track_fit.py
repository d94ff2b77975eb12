"""What a task asks of a track fit."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class TrackFit(Protocol):
    """A module that gives the parameters of tracks from their assigned hits.

    Args:
        inputs: Hit fields that it reads, in this order.
        gives: Names of its results.
    """

    inputs: Sequence[str]
    gives: Sequence[str]
    __call__: Callable[..., dict[str, Tensor]]  # `forward`

    def forward(
        self, hits: Tensor, logits: Tensor, valid: Tensor | None = None, threshold: float = 0.1
    ) -> dict[str, Tensor]:
        """Fit all tracks.

        Args:
            hits: The fields `inputs` [B, M, F].
            logits: Assignment logits [B, N, M].
            valid: bool [B, M], False at padded hits, which may hold anything; None for no padding.
            threshold: Probability from which a hit takes part.

        Returns:
            What `gives` names: of tracks [B, N], of hits [B, N, M].
        """

    def check(self, hits: Tensor) -> None:
        """Checks the units of what the fit will get.

        Args:
            hits: The fields `inputs` [..., F] of some hits.

        Raises:
            ValueError: They are wrong; names the field.
        """
