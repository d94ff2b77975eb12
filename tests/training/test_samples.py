from pathlib import Path

import numpy as np
import pytest

from hitpool.training import Samples


def test_other_size_is_an_error(tmp_path: Path) -> None:
    samples = Samples(folder=str(tmp_path), train=30, val=10, test=5)
    samples.check()
    for part, events in {"train": 30, "val": 12}.items():
        (tmp_path / part).mkdir()
        np.save(tmp_path / part / "event_file_indices.npy", np.zeros(events, np.int64))
    with pytest.raises(ValueError, match=r"val holds 12 events, 10 are asked for.*--simulate\.val 12"):
        samples.check()
    Samples(folder=str(tmp_path), train=30, val=12, test=5).check()
