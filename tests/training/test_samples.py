from pathlib import Path

import numpy as np
import pytest

from hitpool.training import Samples


def test_other_size_or_seed_is_an_error(tmp_path: Path) -> None:
    samples = Samples(folder=str(tmp_path), train=30, val=10, test=5)
    samples.check()
    for part, events in {"train": 30, "val": 12}.items():
        (tmp_path / part).mkdir()
        np.save(tmp_path / part / "event_file_indices.npy", np.zeros(events, np.int64))
        (tmp_path / part / "metadata.yaml").write_text("generator: {seed: 1}")
    with pytest.raises(ValueError, match=r"val holds 12 events, 10 are asked for.*--simulate\.val 12"):
        samples.check()
    Samples(folder=str(tmp_path), train=30, val=12, test=5).check()
    with pytest.raises(ValueError, match=r"train was simulated with seed 1, 2 is asked for"):
        Samples(folder=str(tmp_path), train=30, val=12, test=5, seed=2).check()
