import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from hitpool.files import InUseError, alone, remove_left_lock

PROCESSES = multiprocessing.get_context("fork")


def _hold(path: Path, ready: Connection) -> None:
    with alone(path):
        ready.send(True)
        ready.recv()


class Holder:
    """A process that holds the lock of a path."""

    def __init__(self, path: Path) -> None:
        self.connection, other = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=_hold, args=(path, other))
        self.process.start()
        assert self.connection.recv()

    def let_go(self, message: str = "") -> None:
        self.connection.send(message)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    holder = Holder(tmp_path / "run")
    yield holder
    holder.kill()


def test_who_holds_it_is_named(tmp_path: Path, holder: Holder) -> None:
    name = f"process {holder.process.pid} on {socket.gethostname()} since 2"
    with pytest.raises(InUseError, match=rf"run is in use by {name}.*: wait until that ends"), alone(tmp_path / "run"):
        pass
    with alone(tmp_path / "other"):
        pass


def test_waiting(tmp_path: Path, holder: Holder) -> None:
    said = []

    def wait(sentence: str) -> None:
        said.append(sentence)
        holder.let_go()

    with alone(tmp_path / "run", wait):
        assert not (tmp_path / "run").exists()
        (sentence,) = said
        assert f"in use by process {holder.process.pid}" in sentence
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_dead_process_does_not_count(tmp_path: Path, holder: Holder) -> None:
    holder.kill()
    assert [path.name for path in tmp_path.iterdir()] == [".run.lock"]
    with alone(tmp_path / "run"):
        assert f"process {os.getpid()} " in (tmp_path / ".run.lock").read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == []


def test_only_the_lock_of_a_dead_process_is_removed(tmp_path: Path, holder: Holder) -> None:
    remove_left_lock(tmp_path / "other")
    remove_left_lock(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == [".run.lock"]
    holder.kill()
    remove_left_lock(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def _hold_with_a_child(path: Path, ready: Connection) -> None:
    with alone(path):
        child = PROCESSES.Process(target=signal.pause)
        child.start()
        ready.send(child.pid)
        signal.pause()


def test_children_do_not_hold_it(tmp_path: Path) -> None:
    here, there = PROCESSES.Pipe()
    parent = PROCESSES.Process(target=_hold_with_a_child, args=(tmp_path / "run", there))
    parent.start()
    child = here.recv()
    parent.kill()
    parent.join()
    try:
        with alone(tmp_path / "run"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []
