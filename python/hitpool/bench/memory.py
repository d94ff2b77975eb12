"""Memory that a way to pool takes, each measured in a process of its own.

Resident memory: its peak during the first call at this shape, less what was resident before. The C library is told to
take large blocks from the system and give them back at once, so that no memory of earlier calls is used unseen.
Allocations: what torch allocates for tensors, from its profiler. On CUDA, the peak is that of torch's allocator.
"""

from __future__ import annotations

import ctypes
import itertools
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from hitpool.bench.cases import Case, make_inputs
from hitpool.bench.process import value_of
from hitpool.bench.ways import COMPILED, Pool, make

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt


@dataclass(frozen=True)
class Memory:
    """Peaks beyond what was there before, in bytes."""

    forward: int  # under inference_mode
    step: int | None = None  # forward and backward
    backward: int | None = None  # the backward alone, beyond what the forward left
    outputs: int = 0  # what the forward must take
    gradients: int = 0  # of logits and features: what the backward must take
    allocations: int = 0  # number of tensors that torch allocates in the forward ...
    allocated: int = 0  # ... and the peak of their bytes

    def as_dict(self) -> dict[str, int | None]:
        return asdict(self)


def measure(way: str, case: Case, threads: int, backward: bool | None = None) -> Memory:
    """Measures the memory of a way.

    Args:
        way: Name in `hitpool.bench.ways.WAYS`.
        case: Its inputs.
        threads: Threads that torch uses.
        backward: Whether to measure the backward, too; if None, as the case says.

    Returns:
        The peaks.

    Raises:
        RuntimeError: the process ended without a result, for example for want of memory.
    """
    with_backward = case.backward if backward is None else backward
    forward = value_of(way, _forward, way, case, threads)
    return replace(forward, **value_of(way, _backward, way, case, threads)) if with_backward else forward


def _forward(way: str, case: Case, threads: int) -> Memory:
    pool, inputs = _prepared(way, case, threads, backward=False)
    with torch.inference_mode():
        peak = _Peak(case.device)
        pooled = pool(*inputs)
        extra = peak.extra()
        with torch.autograd.profiler.profile(profile_memory=True) as profile:
            pool(*inputs)
    sizes = [event.nbytes() for event in profile.kineto_results.events() if event.name() == "[memory]"]
    allocated = max(itertools.accumulate(sizes))
    return Memory(extra, outputs=pooled.nbytes, allocations=sum(size > 0 for size in sizes), allocated=allocated)


def _backward(way: str, case: Case, threads: int) -> dict[str, int]:
    pool, (logits, features, valid) = _prepared(way, case, threads, backward=True)
    leaves = logits.requires_grad_(), features.requires_grad_()
    grad = torch.ones(case.events, case.tracks, 4, case.features, dtype=features.dtype, device=features.device)
    whole = _Peak(case.device)
    pooled = pool(*leaves, valid)
    forward = whole.extra()
    alone = _Peak(case.device)
    gradients = torch.autograd.grad(pooled, leaves, grad)
    extra = alone.extra()
    return {
        "step": max(forward, alone.before - whole.before + extra),
        "backward": extra,
        "gradients": sum(gradient.nbytes for gradient in gradients),
    }


def _prepared(way: str, case: Case, threads: int, backward: bool) -> tuple[Pool, tuple[Tensor, Tensor, Tensor]]:
    """The way and its inputs, after calls that load code and start threads: at the shape itself if it is compiled."""
    torch.set_num_threads(threads)
    pool, inputs = make(way), make_inputs(case)
    first = inputs if way.endswith(COMPILED) else make_inputs(replace(case, events=4, tracks=2, hits=4, features=4))
    leaves = [tensor.requires_grad_(backward) for tensor in first[:2]]
    with torch.inference_mode(not backward):
        pooled = pool(*leaves, first[2])
    if backward:
        torch.autograd.grad(pooled, leaves, torch.ones_like(pooled))
    return pool, inputs


class _Peak:
    """Peak of the memory from now on: resident, or on CUDA that of the tensors."""

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
            return
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 2**16)
        libc.mallopt(M_TRIM_THRESHOLD, 0)
        libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak becomes what is resident now
        self.before = _resident("VmRSS")

    def extra(self) -> int:
        """Bytes beyond what was taken at the beginning."""
        peak = torch.cuda.max_memory_allocated() if self.device == "cuda" else _resident("VmHWM")
        return peak - self.before


def _resident(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    for entry in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if entry.startswith(f"{field}:"):
            return 1024 * int(entry.split()[1])
    raise OSError(f"/proc/self/status has no {field}")
