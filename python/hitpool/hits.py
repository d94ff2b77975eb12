"""The hits of a batch as one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(eq=False, repr=False)  # so that Lightning, which converts batches to float64, knows how to make another one
class Hits(Mapping[str, Tensor]):
    """All fields of the hits of a batch in one tensor; by name, it is a mapping of the fields and of their validity.

    Args:
        name: Kind of hits, such as `hit`: field f is also `<name>_<f>` [B, M], and the validity `<name>_valid`.
        fields: Names of the F fields.
        table: Their values, field by field, 0 at padded hits, [F, B, M].
        valid: bool [B, M], False at padded hits.

    Example:
        >>> hits = Hits("hit", ["r", "phi"], torch.tensor([[[1.0, 2.0]], [[0.0, 0.5]]]), torch.ones(1, 2).bool())
        >>> hits.chosen(["r", "phi"]).tolist(), hits["hit_phi"].tolist()
        ([[[1.0, 0.0], [2.0, 0.5]]], [[0.0, 0.5]])
    """

    name: str
    fields: list[str]
    table: Tensor
    valid: Tensor

    def __post_init__(self) -> None:
        self._rows = {f"{self.name}_{field}": row for row, field in enumerate(self.fields)}

    def chosen(self, fields: Sequence[str]) -> Tensor:
        """Some of the fields.

        Args:
            fields: Their names, in the order of the last dimension.

        Returns:
            [B, M, F], all of them in their order without a copy.

        Raises:
            KeyError: A field is missing.
        """
        # a linear layer reads this layout as fast as [B, M, F], and it is written twice as fast
        if list(fields) == self.fields:
            return self.table.movedim(0, -1)
        return torch.stack([self[f"{self.name}_{field}"] for field in fields]).movedim(0, -1)

    def to(self, *args: Any, **kwargs: Any) -> Hits:
        """The same on another device or of another type, see `torch.Tensor.to`; the validity stays bool."""
        table = self.table.to(*args, **kwargs)
        return Hits(self.name, self.fields, table, self.valid.to(table.device))

    def pin_memory(self) -> Hits:
        """The same in memory from which a GPU copies faster."""
        return Hits(self.name, self.fields, self.table.pin_memory(), self.valid.pin_memory())

    def __getitem__(self, key: str) -> Tensor:
        return self.valid if key == f"{self.name}_valid" else self.table[self._rows[key]]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._rows, f"{self.name}_valid"])

    def __len__(self) -> int:
        return len(self._rows) + 1

    def __contains__(self, key: object) -> bool:
        return key in self._rows or key == f"{self.name}_valid"
