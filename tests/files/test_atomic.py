import errno
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitpool.files import (
    WriteError,
    alone,
    check_writable,
    complete_or_nothing,
    folder,
    replacing,
    write_text,
)


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files may not grow beyond 100 kB: EFBIG at the real write, where a full disk gives ENOSPC."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def killed(function, *arguments) -> None:
    """Runs a function in a process that ends by SIGKILL in it."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_file_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "größe [1].txt"
    write_text(path, "früher\n")
    with replacing(path) as file:
        file.write(b"later")
        assert path.read_bytes() == "früher\n".encode()
    assert path.read_bytes() == b"later"
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:  # noqa: PT012
        file.write(b"after")
        raise KeyboardInterrupt
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_with_what_is_missing(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    message = r"a\.txt cannot be written: .*ulimit -f\) at 0.1 MB of 0.3 MB; 0.2 MB are missing"
    with pytest.raises(WriteError, match=message) as caught:
        write_text(path, 300_000 * "x")
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]
    write_text(path, "again")
    assert path.read_text(encoding="utf-8") == "again"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_and_a_quota_have_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    words = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota of this user is used up"}
    with pytest.raises(WriteError, match=rf"a\.txt cannot be written: {words[number]}"):
        write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [20, 2_000])
def test_hdf5_ends_with_one_error_on_a_full_disk(tmp_path: Path, small_files: None, size: int) -> None:
    """HDF5 itself crashes when it cannot write while it closes."""
    path = tmp_path / "a.h5"
    failure = pytest.raises(WriteError, match=r"a\.h5 cannot be written")
    with failure, replacing(path) as target, h5py.File(target, "w", libver="v110") as file:
        for number in range(20_000 // size):
            file.create_group(str(number))["x"] = np.zeros(size)
    assert list(tmp_path.iterdir()) == []


def test_hdf5_says_nothing_of_its_own_on_a_full_disk(
    tmp_path: Path, small_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes chunks when it lets a data set go, where an exception would be printed and lost."""
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    failure = pytest.raises(WriteError, match=r" of 0\.8 MB; 0\.7 MB are missing")
    with failure, replacing(tmp_path / "a.h5", 800_000) as target, h5py.File(target, "w") as file:
        file.create_dataset("x", data=np.zeros((100, 1000)), chunks=(1, 1000))
    assert printed == []


def test_a_writer_may_ask_whether_the_disk_is_full(tmp_path: Path, small_files: None) -> None:
    with pytest.raises(WriteError, match=r"a cannot be written"), replacing(tmp_path / "a") as file:  # noqa: PT012
        file.check()
        file.write(bytes(200_000))
        file.check()
        raise AssertionError


def test_folders_are_removed_if_nothing_came_to_be_in_them(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    with pytest.raises(WriteError):
        write_text(path, 300_000 * "x")
    with pytest.raises(ValueError, match="no"), alone(path):
        raise ValueError("no")
    check_writable(path)
    assert list(tmp_path.iterdir()) == []
    with folder(path):
        (tmp_path / "a" / "other").touch()
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "other"]


def test_a_place_that_cannot_be_written_is_named() -> None:
    with pytest.raises(WriteError, match=r"^/proc/nothing cannot be written: "):
        check_writable("/proc/nothing")


def test_hdf5_files_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with replacing(path) as target, h5py.File(target, "w") as file:
        for number in range(100):
            file.create_group(str(number))["x"] = np.full(50, number)
    with h5py.File(path) as file:
        assert all((file[f"{number}/x"][:] == number).all() for number in range(100))
    assert list(tmp_path.iterdir()) == [path]


def _die_while_writing(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    killed(_die_while_writing, path)
    assert len(list(tmp_path.iterdir())) == 1
    with replacing(path) as first:
        first.write(b"first")
        write_text(path, "second")  # as another process would do at the same time: it keeps the file of the first
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def _die_in_folder(path: Path) -> None:
    with complete_or_nothing(path) as folder:
        write_text(folder / "a.txt", "half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_folders_of_killed_processes_are_removed(tmp_path: Path) -> None:
    output = tmp_path / "set"
    killed(_die_in_folder, output)
    assert not output.exists()
    assert len(list(tmp_path.iterdir())) == 2  # what was written, and the lock
    with complete_or_nothing(output) as folder:
        write_text(folder / "a.txt", "whole")
    assert list(tmp_path.iterdir()) == [output]


def test_a_file_of_a_folder_that_is_too_large_has_its_final_name(tmp_path: Path, small_files: None) -> None:
    output = tmp_path / "set"
    with pytest.raises(WriteError) as caught, complete_or_nothing(output) as folder:
        write_text(folder / "a.txt", 300_000 * "x")
    assert str(caught.value).startswith(f"{output / 'a.txt'} cannot be written")
    assert list(tmp_path.iterdir()) == []
