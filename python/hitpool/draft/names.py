"""What the name of a column says."""

from __future__ import annotations

import re
from collections.abc import Sequence

TRUTH = {"truth", "true", "mc", "gen", "sim", "particle", "track", "owner", "pdg", "barcode"}
ERRORS = {"cov", "err", "error", "sigma", "var"}
NUMBERS = {"id", "ids", "index", "idx", "hash", "module", "event", "run"}


def words(name: str) -> list[str]:
    """The words of a name.

    Example:
        >>> words("simHit.trackID"), words("mc_pT")
        (['sim', 'hit', 'track', 'id'], ['mc', 'pt'])
    """
    found = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name.replace("pT", "pt"))
    return [word.lower() for word in found] or [name]


def triples(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Columns whose names differ in one letter, which is x, y and z.

    Example:
        >>> triples(["sp_x", "sp_y", "sp_z", "max", "dirX", "dirY", "dirZ"])
        [('sp_x', 'sp_y', 'sp_z'), ('dirX', 'dirY', 'dirZ')]
    """
    found = []
    for name in names:
        for place, letter in enumerate(name):
            if letter in "xX":
                y, z = (name[:place] + chr(ord(letter) + step) + name[place + 1 :] for step in (1, 2))
                if y in names and z in names:
                    found.append((name, y, z))
    return found
