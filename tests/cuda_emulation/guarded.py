"""Arrays with guards around them, at an address that the test chooses."""

import math

import torch
from torch import Tensor

ALIGNMENT = 64  # bytes
GUARD = 512  # bytes on each side
PATTERN = 0xC3


class Guarded:
    """An array that starts `shift` numbers after a multiple of 64 bytes.

    Args:
        shape: Its shape.
        dtype: Its type.
        shift: In numbers.
        fill: Byte that it holds at first.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, shift: int, fill: int = 0):
        size = torch.empty(0, dtype=dtype).element_size()
        self.bytes = math.prod(shape) * size
        self._store = torch.full((self.bytes + 2 * GUARD + ALIGNMENT,), PATTERN, dtype=torch.uint8)
        self._begin = -self._store.data_ptr() % ALIGNMENT + GUARD + shift * size
        inside = self._store[self._begin : self._begin + self.bytes]
        inside.fill_(fill)
        # view() wants an offset that is a multiple of the size: not so for a store that begins anywhere.
        self.tensor = (
            torch.from_numpy(inside.numpy()).view(dtype).view(shape) if self.bytes else torch.empty(shape, dtype=dtype)
        )
        self.address = self._store.data_ptr() + self._begin
        self.keep()

    @classmethod
    def copy(cls, tensor: Tensor, shift: int) -> "Guarded":
        array = cls(tuple(tensor.shape), tensor.dtype, shift)
        array.tensor.copy_(tensor)
        array.keep()
        return array

    def keep(self) -> None:
        """Takes what it holds now for what it was."""
        self._before = self._store.clone()

    def is_unchanged(self) -> bool:
        return torch.equal(self._store, self._before)

    def is_unchanged_outside(self) -> bool:
        end = self._begin + self.bytes
        return torch.equal(self._store[: self._begin], self._before[: self._begin]) and torch.equal(
            self._store[end:], self._before[end:]
        )
