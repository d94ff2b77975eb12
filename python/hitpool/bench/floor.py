"""The time below which no implementation can be: to read what must be read and write what must be written.

Forward: the logits, and the feature rows that any track of the event selects, are read once; the outputs are written.
Forward and backward: also the gradient of the outputs is read once; the gradients of logits and features are written.
Where many tracks share hits, a row that is read once for all of them still has to be worked into each of their results.
The floor by track shows what that means: there every track reads the rows that it selects.
"""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hitpool.bench.alternatives import weights
from hitpool.bench.machine import system_compiler

SOURCE = Path(__file__).with_name("floor.cpp")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
COPIED = 2**30  # bytes of the copy that measures the bandwidth of a GPU


def read_rows(logits: Tensor, valid: Tensor, by_track: bool = False) -> Tensor:
    """Rows of the features that have to be read.

    Args:
        logits: [B, N, M].
        valid: [B, M].
        by_track: Whether every track reads the rows that it selects.

    Returns:
        Rows of [B M] that at least one track selects, or those of one track after the other; int64.
    """
    selected, _ = weights(logits, valid)  # [B, N, M]
    if by_track:
        event, _, hit = selected.nonzero().unbind(-1)
        return event * logits.shape[-1] + hit
    return selected.any(-2).flatten().nonzero().squeeze(-1)


def moved_bytes(logits: Tensor, features: Tensor, valid: Tensor, backward: bool) -> int:
    """Bytes that are read or written once.

    Args:
        logits: [B, N, M].
        features: [B, M, D].
        valid: [B, M].
        backward: Whether the backward is included.

    Returns:
        Bytes, `valid` not counted.
    """
    width = features.shape[-1] * features.element_size()
    outputs = 4 * logits.shape[0] * logits.shape[1] * width
    forward = logits.nbytes + read_rows(logits, valid).numel() * width + outputs
    return forward + (outputs + logits.nbytes + features.nbytes if backward else 0)


def cpu_floor(
    logits: Tensor, features: Tensor, valid: Tensor, backward: bool, by_track: bool = False
) -> Callable[[], int]:
    """A call that moves what must be moved, with the threads that torch uses.

    Args:
        logits: [B, N, M].
        features: [B, M, D], contiguous as the logits.
        valid: [B, M].
        backward: Whether the backward is included.
        by_track: Whether every track reads the rows that it selects.

    Returns:
        The call; it returns the wrapping sum of all words read. Which rows are read is found out beforehand.

    Raises:
        FileNotFoundError: there is no C++ compiler.
    """
    rows = read_rows(logits, valid, by_track)
    logits, features = logits.detach(), features.detach()
    bits = 8 * features.element_size()
    library = _library()
    read, read_listed, write = (getattr(library, f"{name}_{bits}") for name in ("read", "read_rows", "write"))
    (events, tracks, _), width = logits.shape, features.shape[-1]
    grad = torch.ones(events, tracks, 4, width, dtype=features.dtype)
    threads = torch.get_num_threads()

    def call() -> int:
        total = read(logits.data_ptr(), logits.numel(), threads)
        total += read_listed(features.data_ptr(), rows.data_ptr(), rows.numel(), width, threads)
        written = [torch.empty_like(grad)]
        if backward:
            total += read(grad.data_ptr(), grad.numel(), threads)
            written += [torch.empty_like(logits), torch.empty_like(features)]
        for tensor in written:
            write(tensor.data_ptr(), tensor.numel(), 1, threads)
        return total % 2**bits

    return call


def cuda_bandwidth() -> float:
    """Bandwidth of a copy on the GPU, bytes read and bytes written.

    Returns:
        Bytes per second.
    """
    from hitpool.bench.timing import medians

    source = torch.zeros(COPIED, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED / medians({"copy": lambda: target.copy_(source)}, device="cuda")["copy"]


@functools.cache
def _library() -> ctypes.CDLL:
    compiler = system_compiler()
    if compiler is None:
        raise FileNotFoundError("no C++ compiler found: set CXX")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "floor.so"
        subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(target)], check=True)
        library = ctypes.CDLL(str(target))  # stays loaded without its file
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    for bits in (16, 32, 64):
        read, rows, write = (getattr(library, f"{name}_{bits}") for name in ("read", "read_rows", "write"))
        read.argtypes, read.restype = [pointer, integer, ctypes.c_int], ctypes.c_uint64
        rows.argtypes, rows.restype = [pointer, pointer, integer, integer, ctypes.c_int], ctypes.c_uint64
        write.argtypes, write.restype = [pointer, integer, ctypes.c_uint64, ctypes.c_int], None
    return library
