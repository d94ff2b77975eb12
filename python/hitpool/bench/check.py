"""Whether a way to pool gives the right results and gradients, before it is timed."""

from __future__ import annotations

import torch
from torch import Tensor

from hitpool.bench.alternatives import weights
from hitpool.bench.ways import Pool
from hitpool.ops import reference

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}
TRACKS = 512  # compared in one case, spread evenly


class Expected:
    """Results and gradients of `hitpool.ops.reference` in float64, one track at a time over the hits it selects.

    The maximum and minimum get a gradient only where no hits tie for them: which of those gets it is a convention.

    Args:
        logits: [B, N, M].
        features: [B, M, D].
        valid: [B, M].
        backward: Whether gradients are compared, too.
    """

    def __init__(self, logits: Tensor, features: Tensor, valid: Tensor, backward: bool) -> None:
        self.inputs = logits, features, valid
        events, tracks, _ = logits.shape
        self.leaves = [tensor.detach().double().requires_grad_(backward) for tensor in (logits, features)]
        self.tracks = torch.linspace(0, events * tracks - 1, min(TRACKS, events * tracks)).long().unique()
        selected = weights(logits, valid)[0].flatten(0, 1)  # [B N, M]
        pooled, single = zip(*(self._pool(track, selected[track]) for track in self.tracks.tolist()), strict=True)
        self.pooled = torch.stack(pooled)  # [tracks, 4, D]
        self.grad = torch.zeros(events * tracks, 4, features.shape[-1], dtype=features.dtype, device=features.device)
        if backward:
            generator = torch.Generator().manual_seed(1)
            grad = torch.randn(self.pooled.shape, generator=generator).to(self.grad)
            self.grad[self.tracks] = grad * torch.stack(single)
            self.gradients = torch.autograd.grad(self.pooled, self.leaves, self.grad[self.tracks].double())
        self.grad = self.grad.view(events, tracks, 4, -1)

    def _pool(self, track: int, selected: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features [4, D] of a track, and where one hit gives the result, not several that tie [4, D]."""
        logits, features = self.leaves
        event = track // logits.shape[1]
        hits = selected.nonzero().squeeze(-1)
        rows = features[event].index_select(0, hits)  # [selected hits, D]
        pooled = reference.weighted_pool(logits.flatten(0, 1)[track, hits].unsqueeze(0), rows, threshold=0)[0]
        ties = (rows == pooled[2:].unsqueeze(1)).sum(1) > 1  # [2, D]
        return pooled, torch.cat([torch.ones_like(ties), ~ties])

    def check_forward(self, pool: Pool) -> None:
        """Compares the results of a way.

        Args:
            pool: The way.

        Raises:
            AssertionError: they differ by more than the dtype explains.
        """
        with torch.inference_mode():
            pooled = pool(*(tensor.detach() for tensor in self.inputs))
        self._compare("result", pooled.flatten(0, 1)[self.tracks], self.pooled.detach())

    def check_backward(self, pool: Pool) -> None:
        """Compares the gradients of a way.

        Args:
            pool: The way.

        Raises:
            AssertionError: they differ by more than the dtype explains.
        """
        logits, features, valid = self.inputs
        leaves = logits.detach().requires_grad_(), features.detach().requires_grad_()
        gradients = torch.autograd.grad(pool(*leaves, valid), leaves, self.grad)
        for what, gradient, expected in zip(("logits", "features"), gradients, self.gradients, strict=True):
            self._compare(f"gradient of the {what}", gradient, expected)

    def _compare(self, what: str, values: Tensor, expected: Tensor) -> None:
        tolerance = TOLERANCE[self.inputs[1].dtype] * expected.abs().max().item()
        values = values.to(expected.dtype)
        torch.testing.assert_close(
            values, expected, rtol=0, atol=tolerance, msg=lambda text: f"{what} differs from the reference. {text}"
        )
