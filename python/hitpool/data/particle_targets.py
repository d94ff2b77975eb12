"""From the columns of ``tracks`` to the target fields of the truth particles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hitpool.data.names import suggestion

DERIVED: dict[str, tuple[tuple[str, ...], Callable[..., np.ndarray]]] = {  # from which columns, and how
    "qpt": (("q", "pt"), lambda q, pt: q / pt),
    "qop": (("q", "pt", "eta"), lambda q, pt, eta: q / (pt * np.cosh(eta))),
    "theta": (("eta",), lambda eta: 2 * np.arctan(np.exp(-eta))),
}


class ParticleTargets:
    """Picks target fields out of tracks as they are on disk.

    A field is a column, or, with the columns of the same prefix, ``<prefix>qpt`` = q / pt, ``<prefix>qop`` = q / p =
    q / (pt cosh(eta)), or the polar angle ``<prefix>theta`` = 2 arctan(exp(-eta)) in rad.

    Args:
        columns: Names of the T columns on disk.
        fields: Names of the K wanted fields.

    Raises:
        ValueError: If a field is unknown or named twice.

    Example:
        >>> targets = ParticleTargets(["pt", "eta", "q"], ["eta", "qpt", "theta"])
        >>> targets(np.array([[20.0, 0.0, -1.0]])).round(4).tolist()
        [[0.0, -0.05, 1.5708]]
    """

    def __init__(self, columns: Sequence[str], fields: Sequence[str]) -> None:
        self.fields = list(fields)
        numbers = {name: i for i, name in enumerate(columns)}
        derived = {}  # field -> quantity, and numbers of its columns
        for quantity, (sources, _) in DERIVED.items():
            for name in columns:
                prefix = name.removesuffix(sources[0])
                needed = [prefix + source for source in sources]
                if name == needed[0] and prefix + quantity not in numbers and all(other in numbers for other in needed):
                    derived[prefix + quantity] = (quantity, [numbers[other] for other in needed])
        for field in self.fields:
            if field not in numbers and field not in derived:
                raise ValueError(
                    f"unknown target field '{field}'{suggestion(field, [*numbers, *derived])}; "
                    f"available columns: {', '.join(columns)}; "
                    f"available derived fields: {', '.join(derived) or 'none'}"
                )
        if duplicates := sorted({field for field in self.fields if self.fields.count(field) > 1}):
            raise ValueError(f"target fields named more than once: {', '.join(duplicates)}")
        self._columns = [numbers.get(field) for field in self.fields]
        self._derived = derived

    def __call__(self, tracks: np.ndarray) -> np.ndarray:
        """Computes the fields of each track.

        Args:
            tracks: Tracks as on disk, [..., T].

        Returns:
            The fields, float64 [..., K].
        """
        values = np.empty((*tracks.shape[:-1], len(self.fields)))
        with np.errstate(divide="ignore", invalid="ignore"):  # the caller rejects what is not finite
            for i, (field, column) in enumerate(zip(self.fields, self._columns, strict=True)):
                if column is not None:
                    values[..., i] = tracks[..., column]
                else:
                    quantity, needed = self._derived[field]
                    values[..., i] = DERIVED[quantity][1](
                        *(tracks[..., number].astype(np.float64) for number in needed)
                    )
        return values
