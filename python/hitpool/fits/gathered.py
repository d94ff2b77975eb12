"""The hits of each track, as a tensor of their own."""

import torch
from torch import Tensor


def gather_hits(
    hits: Tensor, no_hit: Tensor, logits: Tensor, valid: Tensor | None, threshold: float, number: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gathers the hits with the largest probability of each track.

    Args:
        hits: Fields of the hits [B, M, F].
        no_hit: What stands for a hit where there is none, [F].
        logits: Assignment logits [B, N, M].
        valid: bool [B, M], False at padded hits, which may hold anything; None for no padding.
        threshold: Probability from which a hit takes part.
        number: Hits K of a track.

    Returns:
        Of T = B N tracks, float64: fields [T, K, F], probabilities [T, K], which are 0 where a hit is not selected; and
        the numbers of the hits among the M, M where a hit is not selected, [T, K].
    """
    batch, _, count = logits.shape
    if valid is not None:
        logits = logits.masked_fill(~valid.unsqueeze(-2), -torch.inf)
    logits = torch.nn.functional.pad(logits.double(), (0, number), value=-torch.inf)  # [B, N, M + K]
    logits, index = logits.topk(number, dim=-1)  # [B, N, K]
    probability = torch.sigmoid(logits)
    selected = (probability >= threshold) & (logits > -torch.inf)
    index = torch.where(selected, index, count)
    padded = torch.cat([hits.double(), no_hit.expand(batch, 1, -1)], dim=1)  # [B, M + 1, F]
    place = index.flatten(1).unsqueeze(-1).expand(-1, -1, padded.shape[-1])  # [B, N K, F]
    own = padded.gather(1, place).view(-1, number, padded.shape[-1])  # [T, K, F]
    return own, torch.where(selected, probability, 0.0).flatten(0, 1), index.flatten(0, 1)
