import os
import signal
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from hitpool.training.checkpoints import AtomicCheckpointIO


class Unpicklable:
    def __reduce__(self) -> None:
        raise RuntimeError("interrupted")


class Terminating:
    """Is terminated while it is being written."""

    def __reduce__(self) -> tuple:
        os.kill(os.getpid(), signal.SIGTERM)
        return OrderedDict, ()


def test_a_signal_waits_until_the_checkpoint_is_written(tmp_path: Path) -> None:
    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(SystemExit, match="143"):
            AtomicCheckpointIO().save_checkpoint({"a": Terminating(), "weights": torch.ones(3)}, tmp_path / "last.ckpt")
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)
    (file,) = tmp_path.iterdir()
    assert file.name == "last.ckpt"
    assert torch.equal(torch.load(file, weights_only=True)["weights"], torch.ones(3))


def test_interrupted_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    writer, path = AtomicCheckpointIO(), tmp_path / "ckpts" / "last.ckpt"
    writer.save_checkpoint({"weights": torch.arange(1000.0)}, path)
    with pytest.raises(RuntimeError, match="interrupted"):
        writer.save_checkpoint({"weights": torch.zeros(1000), "bad": Unpicklable()}, path)
    assert torch.equal(torch.load(path, weights_only=True)["weights"], torch.arange(1000.0))
    writer.save_checkpoint({"weights": torch.ones(3)}, path)
    assert torch.equal(writer.load_checkpoint(path)["weights"], torch.ones(3))
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
