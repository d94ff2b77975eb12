"""Which of several tracks a hit belongs to, and which tracks are left."""

import torch
from torch import Tensor, nn


class AmbiguityResolution(nn.Module):
    r"""Gives each hit to one track, and drops the tracks that are left with too few.

    A hit that several tracks claim goes to the one with the largest sum of hit probabilities, about its number of hits,

    $$\mathrm{owner}_m = \operatorname{argmax}_{n:\ p_{nm} \geq t} \sum_{m':\ p_{nm'} \geq t} p_{nm'},$$

    so that of two tracks of one particle the better one takes all, and the other is dropped. What is taken from a track
    gets the probability 0: its hits, or the track itself. Tracks that are not valid claim nothing and stay as they are.
    It is no part of the training: losses and matching see the
    tracks as they are before it.

    Args:
        least_hits: Hits of a track that is kept.
        track: Name of the predicted objects: reads and replaces `<track>_valid` and `<track>_valid_prob` [B, N].
        hit: Name of the hits: reads and replaces `<track>_<hit>_valid` and `<track>_<hit>_valid_prob` [B, N, M].

    Raises:
        ValueError: `least_hits` is negative.

    Example:
        >>> prob = torch.tensor([[[0.9, 0.9, 0.9, 0.1], [0.0, 0.2, 0.9, 0.9]]])
        >>> preds = {"track_valid": torch.ones(1, 2, dtype=torch.bool), "track_valid_prob": torch.full((1, 2), 0.9)}
        >>> preds |= {"track_hit_valid": prob >= 0.5, "track_hit_valid_prob": prob}
        >>> resolved = AmbiguityResolution(least_hits=2)({"finding": preds})["finding"]
        >>> resolved["track_hit_valid"].int().tolist(), resolved["track_valid"].tolist()
        ([[[1, 1, 1, 0], [0, 0, 0, 1]]], [[True, False]])

    Source: the greedy resolution of ambiguities in ACTS, of which this is one step for all tracks at once.
    """

    def __init__(self, least_hits: int = 0, track: str = "track", hit: str = "hit") -> None:
        super().__init__()
        if least_hits < 0:
            raise ValueError(f"AmbiguityResolution: least_hits must not be negative, got {least_hits}")
        self.least_hits = least_hits
        self.track = f"{track}_valid"
        self.hits = f"{track}_{hit}_valid"
        self.needs = [f"{track}_logit", f"{track}_{hit}_logit"]  # of the tasks that predict what it reads

    def forward(self, preds: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Resolves ambiguities.

        Args:
            preds: Predictions of all tasks, task -> name -> tensor; they are left as they are.

        Returns:
            The same with other validities and probabilities of tracks and hits.
        """
        known = {name: task for task, own in preds.items() for name in own}
        tracks, hits = preds[known[self.track]], preds[known[self.hits]]
        valid, prob = tracks[self.track], hits[f"{self.hits}_prob"]
        claimed = hits[self.hits] & valid.unsqueeze(-1)  # [B, N, M]
        score = torch.where(claimed, prob, 0.0).sum(-1, keepdim=True)  # [B, N, 1]
        owner = torch.where(claimed, score, -1.0).argmax(1, keepdim=True)  # [B, 1, M]
        number = torch.arange(valid.shape[1], device=valid.device).view(1, -1, 1)
        owned = claimed & (number == owner)
        kept = valid & (owned.sum(-1) >= self.least_hits)  # [B, N]
        lost = claimed & ~owned
        found = {
            self.track: kept,
            f"{self.track}_prob": tracks[f"{self.track}_prob"].masked_fill(valid & ~kept, 0),
            self.hits: hits[self.hits] & ~lost,
            f"{self.hits}_prob": prob.masked_fill(lost, 0),
        }
        return {task: {name: found.get(name, value) for name, value in own.items()} for task, own in preds.items()}
