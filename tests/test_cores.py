import os
from pathlib import Path

import pytest

from hitpool.cores import available_cores, cpu_quota


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_available_cores() -> None:
    assert 1 <= available_cores() <= os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("text", "quota"), [("250000 100000", 2.5), ("max 100000", float("inf"))])
def test_quota_of_version_2(tmp_path: Path, text: str, quota: float) -> None:
    write(tmp_path / "own", "0::/job/step\n")
    write(tmp_path / "groups/job/cpu.max", text)
    (tmp_path / "groups/job/step").mkdir()
    assert cpu_quota(tmp_path / "groups", tmp_path / "own") == quota


def test_smallest_quota_above_counts(tmp_path: Path) -> None:
    write(tmp_path / "own", "0::/job/step\n")
    write(tmp_path / "groups/job/cpu.max", "150000 100000")
    write(tmp_path / "groups/job/step/cpu.max", "400000 100000")
    assert cpu_quota(tmp_path / "groups", tmp_path / "own") == 1.5


@pytest.mark.parametrize("path", ["/", "/docker/abc"])  # a container sees its own group where the groups are mounted
@pytest.mark.parametrize(("microseconds", "quota"), [(50_000, 0.5), (-1, float("inf"))])
def test_quota_of_version_1(tmp_path: Path, path: str, microseconds: int, quota: float) -> None:
    write(tmp_path / "own", f"3:memory:/x\n2:cpu,cpuacct:{path}\n1:name=systemd:/\n0::/\n")
    write(tmp_path / "groups/cpu,cpuacct/cpu.cfs_quota_us", f"{microseconds}\n")
    write(tmp_path / "groups/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert cpu_quota(tmp_path / "groups", tmp_path / "own") == quota


def test_no_control_groups(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "missing") == float("inf")
