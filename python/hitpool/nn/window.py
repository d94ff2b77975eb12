"""Attention among neighbours in an order."""

from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from hitpool.nn.recorded import is_recorded


class Window:
    """Which hits see each other: those at most `size` / 2 places apart.

    With `wrap` the first place follows the last one, as for hits in the order of phi; an event of fewer hits than the
    window then has each of them once.

    Args:
        valid: bool [B, M], True at the first hits of each event, which are the ordered ones, False behind them.
        size: Width of the window, even.
        wrap: Whether the order is that of an angle.

    Source: Beltagy et al., Longformer, section 3.1 (arXiv:2004.05150).
    """

    def __init__(self, valid: Tensor, size: int, wrap: bool) -> None:
        self.valid = valid
        self.size = size
        self.wrap = wrap

    @cached_property
    def blocks(self) -> "Blocks":
        """The window for attention that knows masks only."""
        return Blocks(self.valid, self.size, self.wrap)


class Blocks:
    """Blocks of queries and the keys around them, so that memory is linear in the number of hits.

    A block is S = `size` queries in a row and K = 2 S keys, of which a query sees those of the window.

    Args:
        valid: As for `Window`.
        size: As for `Window`.
        wrap: As for `Window`.
    """

    def __init__(self, valid: Tensor, size: int, wrap: bool) -> None:
        self.events, self.hits = valid.shape
        self.size, half = size, size // 2
        self.blocks = self.hits // size + (2 if is_recorded() else 1)  # a graph for any size must not be for one block
        number = valid.sum(-1).view(-1, 1, 1)  # n, hits of each event [B, 1, 1]
        first = torch.arange(self.blocks, device=valid.device).unsqueeze(-1) * size  # [b, 1]
        query, key = torch.arange(size, device=valid.device), torch.arange(-half, size + half, device=valid.device)
        away = key - query.unsqueeze(-1)  # [S, K]
        key = first + key  # [b, K]
        near = away.abs() <= half
        if wrap:
            place = key % number.clamp(min=1)  # [B, b, K]
            once = near & (2 * away <= number) & (2 * away > -number)  # [B, S, K]
            mask = once.unsqueeze(1)
        else:
            seen = (key >= 0) & (key < number)  # [B, b, K]
            place = torch.where(seen, key, number)
            mask = near & seen.unsqueeze(-2)
        query = first + query  # [b, S]
        own = query < number  # [B, b, S]
        mask = mask & own.unsqueeze(-1)  # [B, b, S, K]
        event = torch.arange(self.events, device=valid.device).view(-1, 1, 1)
        start = event * (self.hits + 1)  # behind the hits of each event is a row of zeros
        self.queries = (start + torch.where(own, query, number)).flatten()  # [B * b * S]
        self.keys = (start + place).flatten()  # [B * b * K]
        self.places = torch.arange(self.hits, device=valid.device)
        self.mask = mask.flatten(0, 1)  # [B * b, S, K]

    def split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of each block [B * b, S, H, E], and keys and values around it [B * b, K, H, E].

        Args:
            projected: Queries, keys and values of the hits [B, M, 3, H, E].
        """
        heads = projected.shape[3:]
        width = heads[0] * heads[1]
        filled = pad(projected.flatten(2), (0, 0, 0, 1)).flatten(0, 1)  # [B * (M + 1), 3 H E]
        queries, around = filled.split([width, 2 * width], dim=-1)
        inside = queries.index_select(0, self.queries).view(-1, self.size, *heads)
        keys, values = around.index_select(0, self.keys).view(-1, 2 * self.size, 2, *heads).unbind(2)
        return inside, keys, values

    def hits_of(self, x: Tensor) -> Tensor:
        """Back from blocks [B * b, S, ...] to hits [B, M, ...]."""
        return x.reshape(self.events, self.blocks * self.size, *x.shape[2:]).index_select(1, self.places)
