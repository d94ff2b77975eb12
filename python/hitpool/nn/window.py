"""Attention among neighbours in an order."""

import torch
from torch import Tensor


class Window:
    """Blocks of queries and the keys around them, so that memory is linear in the number of hits.

    A block is S = `size` queries in a row and K = 2 S keys, of which a query sees those at most S / 2 places before or
    behind its own. With `wrap` the first place follows the last one, as for hits in the order of phi; an event of fewer
    hits than the window then has each of them once.

    Args:
        valid: bool [B, M], True at the first hits of each event, which are the ordered ones, False behind them.
        size: Width of the window, even.
        wrap: Whether the order is that of an angle.

    Source: Beltagy et al., Longformer, section 3.1 (arXiv:2004.05150).
    """

    def __init__(self, valid: Tensor, size: int, wrap: bool) -> None:
        self.events, self.hits = valid.shape
        self.size, half = size, size // 2
        self.blocks = -(-self.hits // size)
        number = valid.sum(-1).view(-1, 1, 1)  # n, hits of each event [B, 1, 1]
        first = size * torch.arange(self.blocks, device=valid.device).unsqueeze(-1)  # [b, 1]
        query, key = torch.arange(size, device=valid.device), torch.arange(-half, size + half, device=valid.device)
        away = key - query.unsqueeze(-1)  # [S, K]
        key = first + key  # [b, K]
        near = away.abs() <= half
        if wrap:
            place = key % number.clamp(min=1)  # [B, b, K]
            once = near & (2 * away <= number) & (2 * away > -number)  # [B, S, K]
            mask = once.unsqueeze(1)
        else:
            place = key.clamp(0, self.hits - 1).expand(self.events, -1, -1)
            mask = near & ((key >= 0) & (key < number)).unsqueeze(-2)
        mask = mask & (first + query < number).unsqueeze(-1)  # [B, b, S, K]
        start = self.hits * torch.arange(self.events, device=valid.device).view(-1, 1, 1)
        self.keys = (start + place).flatten()  # [B * b * K]
        self.mask = mask.flatten(0, 1)  # [B * b, S, K]

    def queries_of(self, x: Tensor) -> Tensor:
        """Hits in blocks [B, M, ...] to [B * b, S, ...], the last one filled with zeros."""
        missing = self.blocks * self.size - self.hits
        filled = torch.cat([x, x.new_zeros(x.shape[0], missing, *x.shape[2:])], dim=1)
        return filled.unflatten(1, (self.blocks, self.size)).flatten(0, 1)

    def keys_of(self, x: Tensor) -> Tensor:
        """Hits around each block, [B, M, ...] to [B * b, K, ...]."""
        return x.flatten(0, 1).index_select(0, self.keys).unflatten(0, (self.events * self.blocks, 2 * self.size))

    def hits_of(self, x: Tensor) -> Tensor:
        """Back from blocks, [B * b, S, ...] to [B, M, ...]."""
        return x.unflatten(0, (self.events, self.blocks)).flatten(1, 2)[:, : self.hits]
