import os
from pathlib import Path

import torch

from hitpool.training import runs


def test_versions_count_up(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "muon"
    assert runs.newest(folder) is None
    assert [runs.claim(folder).name for _ in range(11)] == [f"version_{k}" for k in range(11)]
    assert runs.newest(folder) == folder / "version_10"
    assert runs.following(folder) == folder / "version_11"
    assert not runs.following(folder).exists()


def test_other_files_are_no_runs(tmp_path: Path) -> None:
    for name in ("version_x", "version_", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "version_7").write_text("a file")
    assert runs.versions(tmp_path) == []
    assert runs.following(tmp_path).name == "version_0"


def test_run_of_a_checkpoint(tmp_path: Path) -> None:
    assert runs.of_checkpoint(tmp_path / "version_3" / "ckpts" / "best.ckpt") == tmp_path / "version_3"
    assert runs.of_checkpoint(tmp_path / "elsewhere.ckpt") is None


def test_a_checkpoint_of_a_callback_belongs_to_its_run(tmp_path: Path) -> None:
    run = tmp_path / "version_3"
    (run / "checkpoints").mkdir(parents=True)
    assert runs.of_checkpoint(run / "checkpoints" / "step=2.ckpt") is None
    (run / "config.yaml").write_text("name: muon")
    assert runs.of_checkpoint(run / "checkpoints" / "step=2.ckpt") == run
    assert runs.of_checkpoint(run / "hpc_ckpt_1.ckpt") == run


def test_the_last_checkpoint_is_the_most_recent_that_can_be_continued(tmp_path: Path) -> None:
    def write(name: str, time: int, **content: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        torch.save({"state_dict": {}, **content}, path)
        os.utime(path, (time, time))
        return path

    assert runs.checkpoint(tmp_path) is None
    last = write("ckpts/last.ckpt", 10, optimizer_states=1)
    assert runs.checkpoint(tmp_path) == runs.checkpoint(tmp_path, "last") == last
    assert runs.checkpoint(tmp_path, "best") is None
    best = write("ckpts/best.ckpt", 20, optimizer_states=1)  # by a second phase
    assert runs.checkpoint(tmp_path) == runs.checkpoint(tmp_path, "best") == best
    assert runs.checkpoint(tmp_path, "last") == last
    step = write("checkpoints/step=7.ckpt", 11, optimizer_states=1)
    write("checkpoints/weights.ckpt", 13)
    assert runs.checkpoint(tmp_path, "last") == step
    assert runs.checkpoint(tmp_path, "best") == best
    requeued = write("hpc_ckpt_1.ckpt", 12, optimizer_states=1)
    assert runs.checkpoint(tmp_path, "last") == requeued


def test_a_training_that_was_killed_before_its_last_checkpoint_goes_on_from_the_best(tmp_path: Path) -> None:
    (tmp_path / "ckpts").mkdir()
    torch.save({"state_dict": {}, "optimizer_states": 1}, tmp_path / "ckpts" / "best.ckpt")
    assert runs.checkpoint(tmp_path, "last") == tmp_path / "ckpts" / "best.ckpt"
