from pathlib import Path

import pytest
import torch

from hitpool.training.checkpoints import AtomicCheckpointIO


class Unpicklable:
    def __reduce__(self) -> None:
        raise RuntimeError("interrupted")


def test_interrupted_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    writer, path = AtomicCheckpointIO(), tmp_path / "ckpts" / "last.ckpt"
    writer.save_checkpoint({"weights": torch.arange(1000.0)}, path)
    with pytest.raises(RuntimeError, match="interrupted"):
        writer.save_checkpoint({"weights": torch.zeros(1000), "bad": Unpicklable()}, path)
    assert torch.equal(torch.load(path, weights_only=True)["weights"], torch.arange(1000.0))
    writer.save_checkpoint({"weights": torch.ones(3)}, path)
    assert torch.equal(writer.load_checkpoint(path)["weights"], torch.ones(3))
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
