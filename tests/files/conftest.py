from pathlib import Path

import pytest

from ..data.data_sets import make_events, write_dataset


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data set that may be damaged; event i lies in row 59 - i of its only file."""
    return write_dataset(tmp_path / "set", make_events(60))
