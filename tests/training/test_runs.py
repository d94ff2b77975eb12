from pathlib import Path

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
