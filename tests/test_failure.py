import multiprocessing

import pytest
import torch
from torch.utils.data import DataLoader

from hitpool.failure import explain


def raised(function, *arguments) -> Exception:
    with pytest.raises(Exception) as info:  # noqa: PT011  (any)
        function(*arguments)
    return info.value


class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise ValueError(f"event {index}: x is nan")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_process_that_reads_is_its_own_line(workers):
    context = multiprocessing.get_context("fork") if workers else None
    loader = DataLoader(Broken(), num_workers=workers, multiprocessing_context=context)
    assert explain(raised(next, iter(loader))) == ("event 0: x is nan", 1)


def test_files_are_named():
    assert explain(raised(open, "/nowhere/file")) == ("/nowhere/file: no such file or directory", 1)
    error = FileNotFoundError(2, "No such file or directory", "a", None, "b")
    assert explain(error) == ("a -> b: no such file or directory", 1)
    assert explain(OSError(28, "No space left on device")) == ("[Errno 28] No space left on device", 1)
    error = OSError(30, "Read-only file system", "a")
    assert explain(error) == ("a cannot be written: the file system is read-only", 1)


def test_known_causes():
    assert explain(RuntimeError("DefaultCPUAllocator: can't allocate memory: 4 bytes"))[0].startswith(
        "not enough memory"
    )
    lost = RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:925.")
    assert explain(lost) == ("another process of this training ended, and says why itself", 1)


def test_faults_are_labelled():
    line, status = explain(raised(torch.matmul, torch.ones(2, 3), torch.ones(2, 3)))
    assert line.startswith("unexpected RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert "\n" not in line
    assert status == 1
    assert explain(raised({}.__getitem__, "key"))[0].startswith("unexpected KeyError: key (--debug shows")
