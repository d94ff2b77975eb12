from pathlib import Path

import pytest

from .ntuples import HIT_COLUMNS, TRACK_COLUMNS, Event, branches, make_events, write_root


@pytest.fixture(scope="session")
def ntuples(tmp_path_factory) -> tuple[list[Path], list[Event]]:
    """Three files, the last without events that pass."""
    folder = tmp_path_factory.mktemp("root")
    parts = [make_events(90, seed=1), make_events(50, seed=2), make_events(4, seed=3)]
    for event in parts[2]:
        event.tracks[:, 0] = 1.0
    files = [
        write_root(folder / f"{name}.root", branches(events, HIT_COLUMNS, TRACK_COLUMNS))
        for name, events in zip("abc", parts, strict=True)
    ]
    return files, [event for part in parts for event in part]


@pytest.fixture
def small_parts(monkeypatch) -> None:
    monkeypatch.setattr("hitpool.conversion.job.PART_BYTES", 20_000)
