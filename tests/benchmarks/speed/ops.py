"""Times and memory of the ops; each function is meant for a process of its own."""

import ctypes
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from alternatives import COMPILED, THRESHOLD, eta_chain, is_too_large, make, torch_attention
from timing import medians
from torch import Tensor

import hitpool
from hitpool.ops.attention import attention

FORWARD, STEP = MODES = "forward", "forward + backward"
VALID = 0.95  # share of hits that are not padding
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt

Shape = tuple[int, ...]  # B, N, M, D
Times = dict[str, dict[str, float]]  # mode -> way -> seconds


def pool_inputs(shape: Shape, share: float, dtype: str, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """The same inputs at every call: normal logits of width 3, shifted so that a share of the hits is selected."""
    events, tracks, hits, width = shape
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(events, tracks, hits, generator=generator)
    quantile = torch.special.ndtri(torch.tensor(1 - share / VALID, dtype=torch.float64)).item()
    logits.sub_(quantile).mul_(3).add_(torch.logit(torch.tensor(THRESHOLD)))
    features = torch.randn(events, hits, width, generator=generator)
    valid = torch.rand(events, hits, generator=generator) < VALID
    return logits.to(device, getattr(torch, dtype)), features.to(device, getattr(torch, dtype)), valid.to(device)


def time_pools(
    names: Iterable[str], shape: Shape, share: float, dtype: str, device: str, threads: int, rounds: int
) -> Times:
    """Times ways to pool; those that need too much memory are left out."""
    torch.set_num_threads(threads)
    *inputs, valid = pool_inputs(shape, share, dtype, device)
    pools = {name: make(name) for name in names}
    times = {}
    for mode in MODES:
        fitting = {name: pool for name, pool in pools.items() if not is_too_large(name, shape, mode == STEP)}
        times[mode] = _times(fitting, inputs, valid, mode, rounds)
    return times


def time_angles(number: int, dtype: str, device: str, threads: int, rounds: int, compiled: bool) -> Times:
    """Times `pseudorapidity`, the chain of operations, and a copy."""
    torch.set_num_threads(threads)
    theta = torch.linspace(0.02, 3.12, number, dtype=getattr(torch, dtype), device=device)
    ways: dict[str, Callable] = {"hitpool": hitpool.pseudorapidity, "chain": eta_chain}
    if compiled:
        ways["chain" + COMPILED] = torch.compile(eta_chain, dynamic=False)
    ways["copy"] = torch.clone
    return {
        mode: _times({name: lambda x, _, way=way: way(x) for name, way in ways.items()}, [theta], None, mode, rounds)
        for mode in MODES
    }


def time_attention(shape: Shape, threads: int, rounds: int) -> Times:
    """Times `attention` and `scaled_dot_product_attention` for B, Q, K, H, E; about every tenth key is masked."""
    torch.set_num_threads(threads)
    events, queries, keys, heads, width = shape
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(events, size, heads, width, generator=generator) for size in (queries, keys, keys)]
    mask = torch.rand(events, 1, keys, generator=generator) < 0.9
    mask[..., 0] = True
    torch.testing.assert_close(attention(*inputs, mask), torch_attention(*inputs, mask))
    ways = {"hitpool": attention, "torch": torch_attention}
    return {mode: _times(ways, inputs, mask, mode, rounds) for mode in MODES}


def measure_memory(
    name: str, shape: Shape, share: float, dtype: str, device: str, threads: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Peak memory of a way to pool beyond its inputs: resident, on CUDA that of tensors.

    Returns:
        Mode -> bytes, and mode -> bytes of outputs and gradients.
    """
    torch.set_num_threads(threads)
    if device == "cpu":  # large blocks come from the system and go back at once: no memory of earlier calls is reused
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 2**16)
        libc.mallopt(M_TRIM_THRESHOLD, 0)
    pool = make(name)
    first = shape if name.endswith(COMPILED) else (4, 2, 4, 4)  # loads code and starts threads
    peaks, returned = {}, {}
    for mode in MODES:
        calls = []
        for size in (first, shape):
            *inputs, valid = pool_inputs(size, share, dtype, device)
            calls.append(_call(pool, inputs, valid, mode))
        with torch.inference_mode(mode == FORWARD):
            calls[0]()
            before = _memory(device, reset=True)
            results = calls[1]()
            peaks[mode] = _memory(device) - before
        returned[mode] = sum(tensor.nbytes for tensor in results)
    returned[STEP] += returned[FORWARD]
    return peaks, returned


def _call(function: Callable, inputs: Sequence[Tensor], other: object, mode: str) -> Callable[[], Sequence[Tensor]]:
    """Call of a function that returns its result or, with a backward pass, the gradients."""
    if mode == FORWARD:
        return lambda: [function(*inputs, other)]
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    grad = torch.ones_like(function(*leaves, other))
    return lambda: torch.autograd.grad(function(*leaves, other), leaves, grad)


def _times(
    functions: Mapping[str, Callable], inputs: Sequence[Tensor], other: object, mode: str, rounds: int
) -> dict[str, float]:
    """Times functions; an alternative that fails, which is a result, is named on the standard error and left out."""
    calls = {}
    with torch.inference_mode(mode == FORWARD):
        for name, function in functions.items():
            try:
                call = _call(function, inputs, other, mode)
                call()
            except RuntimeError as error:
                if name == "hitpool":
                    raise
                print(f"{name}, {mode}: {str(error).strip().splitlines()[0]}", file=sys.stderr)
            else:
                calls[name] = call
        return medians(calls, rounds)


def _memory(device: str, reset: bool = False) -> int:
    """Peak of the memory in bytes since the last reset, which makes it what is taken now."""
    if device == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    if reset:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    (peak,) = (line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if "VmHWM" in line)
    return 1024 * int(peak.split()[1])
