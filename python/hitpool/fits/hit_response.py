"""Which of the assigned hits agree with the fit of their track, learned."""

import torch
from torch import Tensor, nn

from hitpool.fits.late import LateModule
from hitpool.nn.dense import Dense

SIZE = 12  # features


class HitResponse(LateModule):
    r"""Revises the assignment of the hits from the fit of their track.

    A transformer knows a track to centimetres, the fit to a fraction of a millimetre, and only it can tell a drift
    radius that the track cannot have made. A network reads the logit l, the posterior of the annealed fit, that of the
    rival, the other track to which the hit fits best, the distance r of the wire or strip from the track, the drift
    radius R with its error $\sigma$, whether it is a drift tube, and how good the fit is, and changes the logit,

    $$l' = l + f(l,\ \rho,\ \rho_\mathrm{rival},\ r,\ R,\ (r - R) / \sigma,\ \ldots).$$

    It is trained by cross-entropy. The logits of hits that were no part of the fit stay as they are, and so do all of
    them until the second phase of `hitpool fit`.

    Args:
        hidden_dim: Width of its two hidden layers.

    Raises:
        ValueError: `hidden_dim` is below 1.

    Example:
        >>> response = HitResponse()
        >>> fit = {name: torch.full((1, 2, 3), 0.01) for name in response.needs[:5]}
        >>> fit |= {"hit_taken": torch.ones(1, 2, 3, dtype=torch.bool)}
        >>> fit |= {"num_hits": torch.full((1, 2), 20.0), "chi2": torch.full((1, 2), 20.0)}
        >>> logits = torch.zeros(1, 2, 3)
        >>> torch.equal(response(response.describe(fit, logits), fit["hit_taken"], logits), logits)
        True
    """

    needs = (
        "posterior",
        "hit_distance",
        "hit_radius",
        "hit_error",
        "hit_tube",
        "hit_taken",
        "num_hits",
        "chi2",
    )

    advice = "take ToroidFit"

    def __init__(self, hidden_dim: int = 32) -> None:
        super().__init__()
        if hidden_dim < 1:
            raise ValueError(f"HitResponse: hidden_dim must be at least 1, got {hidden_dim}")
        self.net = Dense(SIZE, 1, hidden_layers=[hidden_dim, hidden_dim])
        nn.init.zeros_(self.net.last.weight)
        nn.init.zeros_(self.net.last.bias)

    def describe(self, fit: dict[str, Tensor], logits: Tensor) -> Tensor:
        """What the network reads.

        Args:
            fit: Results of the fit by name: [B, N] of tracks, [B, N, M] of hits, lengths in m.
            logits: Assignment logits [B, N, M] of which the fit was made.

        Returns:
            [B, N, M, 12].
        """
        logits = logits.double().clamp(-9, 9)
        rho = fit["posterior"] / logits.sigmoid()
        quality = (fit["chi2"] / fit["num_hits"].clamp(min=1) + 0.1).log()  # [B, N]
        radius, distance = fit["hit_radius"], fit["hit_distance"]
        beyond = distance - radius
        features = [
            logits / 4,
            (rho + 1e-3).log() / 3,
            rho,
            (fit["num_hits"] / 20 - 1).unsqueeze(-1).expand_as(rho),
            quality.clamp(-3, 8).unsqueeze(-1).expand_as(rho),
            fit["hit_tube"],
            (distance * 30).clamp(max=3),
            radius * 100,
            (beyond / fit["hit_error"].clamp(min=1e-5)).clamp(-20, 20) / 10,
            (beyond.abs() * 1e3 + 0.1).log().clamp(max=5) * beyond.sign() / 2,
            *_of_rival(fit["posterior"], rho),
        ]
        return torch.stack(features, dim=-1).to(self.net.last.weight.dtype)

    def forward(self, described: Tensor, taken: Tensor, logits: Tensor) -> Tensor:
        """Revised logits.

        Args:
            described: What `describe` returned [..., 12].
            taken: bool [...], whether a hit took part in the fit.
            logits: Assignment logits [...].

        Returns:
            [...], in the type of `logits`.
        """
        return torch.where(taken, logits + self.net(described).squeeze(-1).to(logits.dtype), logits)


def _of_rival(posterior: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    """For each hit its largest posterior among the other tracks, and the logarithm of their rho [B, N, M] each."""
    nobody = posterior.new_zeros(posterior.shape[0], 1, posterior.shape[2])
    largest, track = torch.cat([posterior, nobody], dim=1).topk(2, dim=1)  # [B, 2, M]
    rhos = torch.cat([rho, nobody], dim=1).gather(1, track)
    first = torch.arange(posterior.shape[1], device=posterior.device).view(1, -1, 1) == track[:, :1]  # [B, N, M]
    best, likely = (torch.where(first, both[:, 1:], both[:, :1]) for both in (largest, rhos))
    return best, (likely + 1e-3).log() / 3
