"""Which of several tracks a hit belongs to, and which tracks are left."""

import torch
from torch import Tensor, nn


class AmbiguityResolution(nn.Module):
    r"""Gives each hit to one track, and drops the tracks that are left with too few.

    A hit that several tracks claim goes to the one with the largest sum of hit probabilities, about its number of hits,

    $$\mathrm{owner}_m = \operatorname{argmax}_{n:\ p_{nm} \geq t} \sum_{m':\ p_{nm'} \geq t} p_{nm'},$$

    so that of two tracks of one particle the better one takes all, and the other is dropped. A track that is dropped,
    and all hits that a track is not given, get the probability 0: afterwards only valid tracks have hits. It is no part
    of the training: losses and matching see the tracks as they are before it.

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
        ([[[1, 1, 1, 0], [0, 0, 0, 0]]], [[True, False]])

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
        known = {name: value for own in preds.values() for name, value in own.items()}
        valid, prob = known[self.track], known[f"{self.hits}_prob"]
        claimed, score = self._claims(known)
        owner = score.argmax(1, keepdim=True)  # [B, 1, M]
        number = torch.arange(valid.shape[1], device=valid.device).view(1, -1, 1)
        owned = claimed & (number == owner)
        kept = valid & (owned.sum(-1) >= self.least_hits)  # [B, N]
        given = owned & kept.unsqueeze(-1)
        found = {
            self.track: kept,
            f"{self.track}_prob": known[f"{self.track}_prob"].masked_fill(valid & ~kept, 0),
            self.hits: given,
            f"{self.hits}_prob": torch.where(given, prob, 0.0),
        }
        return {task: {name: found.get(name, value) for name, value in own.items()} for task, own in preds.items()}

    def is_close(self, preds: dict[str, dict[str, Tensor]], threshold: float, margin: float) -> Tensor:
        """Whether rounding may change which track a hit belongs to, or whether it belongs to any, bool [B].

        Args:
            preds: As for `forward`.
            threshold: Probability from which a hit is claimed.
            margin: By which a probability may change, and the sum of probabilities of a track by ten times as much.
        """
        known = {name: value for own in preds.values() for name, value in own.items()}
        claimed, score = self._claims(known)
        near = (known[f"{self.hits}_prob"] - threshold).abs() < margin
        found = (near & known[self.track].unsqueeze(-1)).flatten(1).any(1)
        if claimed.shape[1] < 2:
            return found
        first, second = score.topk(2, dim=1)[0].unbind(1)  # [B, M]
        return found | ((second >= 0) & (first - second < 10 * margin)).any(1)

    def _claims(self, known: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Which valid track claims which hit, and its sum of hit probabilities, -1 where it does not, [B, N, M]."""
        claimed = known[self.hits] & known[self.track].unsqueeze(-1)
        score = torch.where(claimed, known[f"{self.hits}_prob"], 0.0).sum(-1, keepdim=True)
        return claimed, torch.where(claimed, score, -1.0)
