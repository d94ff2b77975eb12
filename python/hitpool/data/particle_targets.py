"""From the columns of ``tracks`` to the target fields of the truth particles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hitpool.data.names import suggestion

_SIGNED_INVERSE_PT = "qpt"


class ParticleTargets:
    """Picks target fields out of tracks as they are on disk.

    A field is a column, or ``<prefix>qpt`` = ``<prefix>q`` / ``<prefix>pt``.

    Args:
        columns: Names of the T columns on disk.
        fields: Names of the K wanted fields.

    Raises:
        ValueError: If a field is unknown or named twice.

    Example:
        >>> targets = ParticleTargets(["pt", "eta", "q"], ["eta", "qpt"])
        >>> targets(np.array([[20.0, 1.5, -1.0]])).tolist()
        [[1.5, -0.05]]
    """

    def __init__(self, columns: Sequence[str], fields: Sequence[str]) -> None:
        self.fields = list(fields)
        numbers = {name: i for i, name in enumerate(columns)}
        quotients = {}  # field -> columns of q and pt
        for name in columns:
            prefix = name.removesuffix("pt")
            if name.endswith("pt") and prefix + "q" in numbers and prefix + _SIGNED_INVERSE_PT not in numbers:
                quotients[prefix + _SIGNED_INVERSE_PT] = (numbers[prefix + "q"], numbers[name])
        for field in self.fields:
            if field not in numbers and field not in quotients:
                raise ValueError(
                    f"unknown target field '{field}'{suggestion(field, [*numbers, *quotients])}; "
                    f"available columns: {', '.join(columns)}; "
                    f"available derived fields: {', '.join(quotients) or 'none'}"
                )
        if duplicates := sorted({field for field in self.fields if self.fields.count(field) > 1}):
            raise ValueError(f"target fields named more than once: {', '.join(duplicates)}")
        self._sources = [numbers.get(field, quotients.get(field)) for field in self.fields]

    def __call__(self, tracks: np.ndarray) -> np.ndarray:
        """Computes the fields of each track.

        Args:
            tracks: Tracks as on disk, [..., T].

        Returns:
            The fields, float64 [..., K].
        """
        values = np.empty((*tracks.shape[:-1], len(self.fields)))
        with np.errstate(divide="ignore", invalid="ignore"):  # the caller rejects what is not finite
            for i, source in enumerate(self._sources):
                if isinstance(source, tuple):
                    charge, pt = source
                    values[..., i] = tracks[..., charge].astype(np.float64) / tracks[..., pt]
                else:
                    values[..., i] = tracks[..., source]
        return values
