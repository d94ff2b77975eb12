"""Checkpoints are read without running code, and what is wrong with them is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hitpool.weights import CheckpointError, names_key, read_checkpoint, read_weights

WEIGHTS = {"net.weight": torch.ones(2, 3), "net.bias": torch.zeros(2)}


class Touch:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


class Config:
    """Stands for a class of hepattn among the hyper-parameters."""


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / "theirs.ckpt"
    torch.save({"state_dict": WEIGHTS, "hyper_parameters": {"model": Touch(trap)}}, path)
    with pytest.raises(
        CheckpointError, match=r"is refused: it holds objects of (posix|nt)\.mkdir.*runs code of the file"
    ):
        read_weights(path)
    assert names_key(path, "hyper_parameters")
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists()  # the trap works


def test_unknown_classes_are_named_and_the_advice_works(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "hyper_parameters": {"config": Config()}}, tmp_path / "theirs.ckpt")
    with pytest.raises(CheckpointError, match=r"it holds objects of .*Config, and") as error:
        read_weights(tmp_path / "theirs.ckpt")
    command = str(error.value).partition('python -c "')[2].rpartition('"')[0]
    exec(command.replace("weights.ckpt", str(tmp_path / "weights.ckpt")))
    assert read_weights(tmp_path / "weights.ckpt").keys() == WEIGHTS.keys()


def test_files_that_are_no_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"checkpoint .*nothere.ckpt does not exist"):
        read_weights(tmp_path / "nothere.ckpt")
    (tmp_path / "text.ckpt").write_bytes(b"abc")
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04" + bytes(300))
    for content in ({"epoch": 3}, {"state_dict": {"a": 1}}, {"state_dict": torch.ones(2)}, [torch.ones(2)], {}):
        torch.save(content, tmp_path / "empty.ckpt")
        with pytest.raises(CheckpointError, match=r"empty.ckpt holds no weights: expected a dictionary of tensors"):
            read_weights(tmp_path / "empty.ckpt")
    for name in ("text", "cut"):
        with pytest.raises(CheckpointError, match=rf"{name}.ckpt cannot be read: \w+Error: .+"):
            read_weights(tmp_path / f"{name}.ckpt")
        with pytest.raises(CheckpointError, match=rf"{name}.ckpt cannot be read: \w+: .+"):
            names_key(tmp_path / f"{name}.ckpt", "optimizer_states")


def test_damage_is_found_by_the_checksums(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"weight": torch.full((500,), 1.5)}}, path)
    data = path.read_bytes()
    place = data.index(torch.full((500,), 1.5).numpy().tobytes())
    path.write_bytes(data[:place] + b"\x01" + data[place + 1 :])
    with pytest.raises(CheckpointError, match=r"last.ckpt is damaged: .* does not have the stored checksum"):
        read_checkpoint(path)


def test_reading_needs_no_lightning() -> None:
    code = "import sys, hitpool.weights; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
