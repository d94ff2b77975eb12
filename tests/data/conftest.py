from pathlib import Path

import pytest

from .data_sets import Events, make_events, write_dataset


@pytest.fixture(scope="session")
def events() -> Events:
    return make_events(60)


@pytest.fixture(scope="session")
def tracking_set(tmp_path_factory: pytest.TempPathFactory, events: Events) -> Path:
    return write_dataset(tmp_path_factory.mktemp("tracking") / "set", events)


@pytest.fixture(scope="session")
def filtering_set(tmp_path_factory: pytest.TempPathFactory, events: Events) -> Path:
    return write_dataset(tmp_path_factory.mktemp("filtering") / "set", events, "filtering", num_files=3)
