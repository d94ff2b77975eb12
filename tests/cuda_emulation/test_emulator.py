"""Small kernels with one mistake each: the emulator names it, its file and its line."""

import ctypes
from pathlib import Path

import pytest
import torch

from .emulation import ORDERS, Emulation, Schedule
from .guarded import Guarded

SOURCE = (Path(__file__).parent / "mistakes.cu").read_text()

# kernel: what the emulator says, and a part of the line of the source that it names
MISTAKES = {
    "no_barrier": ("shared memory: race, read", "sum += sums[w]"),
    "a_vote_is_no_barrier": ("shared memory: race, read", "const float next"),
    "read_before_written": ("shared memory: not written before, read", "values[3]"),
    "beyond_shared": ("shared memory: out of bounds, write", "values[threadIdx.x] ="),
    "beyond_global": ("global memory: out of bounds, read", "const float x"),
    "misaligned": ("misaligned, 8 bytes, read", "*wide"),
    "undefined_shift": ("undefined behaviour: shift_out_of_bounds", "<<"),
    "writes_an_input": ("input from: write", "const_cast"),
    "writes_twice": ("output to: written twice, write", "to[blockIdx.x] = from[threadIdx.x]"),
    "two_blocks_write": ("output to: written twice, write", "to[0] ="),
    "writes_nothing": ("output to: 4 bytes were never written", None),
    "reads_an_output": ("output to: not written before, read", "+= 1"),
    "barrier_of_some": ("__syncthreads line", "__syncthreads()"),
    "two_barriers": ("meets line", None),
    "shuffle_of_some": ("__shfl_sync line", None),
    "two_collectives": ("meets __", None),
    "not_in_the_mask": ("the caller is not in the mask", None),
    "lane_of_another_warp": ("reads a lane that is not in the mask", None),
    "barrier_in_a_loop": ("__syncthreads line", None),
}


@pytest.fixture
def mistakes(libraries: Path) -> Emulation:
    return Emulation(libraries / "libmistakes.so")


def run(emulation: Emulation, kernel: str) -> tuple[torch.Tensor, list[str]]:
    source = Guarded.copy(torch.arange(256, dtype=torch.float32), 0)
    target = Guarded((2,), torch.float32, 0)
    emulation.clear_regions()
    for name, array in {"from": source, "to": target}.items():
        emulation.add_region(array.address, array.bytes, name == "to", name)
    getattr(emulation.library, f"run_{kernel}")(ctypes.c_void_p(source.address), ctypes.c_void_p(target.address))
    emulation.report_unwritten()
    return target.tensor, emulation.reports()


@pytest.mark.parametrize("order", ORDERS)
def test_no_mistake(mistakes: Emulation, order: str):
    mistakes.set_schedule(Schedule(order, preempt_one_in=5, seed=3))
    sums, reports = run(mistakes, "sum_of_block")
    assert sums.tolist() == [127 * 64, 127 * 64 + 128 * 128]
    assert reports == []


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kernel", MISTAKES)
def test_mistake_is_named(mistakes: Emulation, kernel: str, order: str):
    message, code = MISTAKES[kernel]
    mistakes.set_schedule(Schedule(order, seed=3))
    reports = run(mistakes, kernel)[1]
    found = [report for report in reports if message in report]
    assert found, reports
    assert len(reports) <= 4
    if code and "mistakes.cu" in found[0]:  # g++ and clang name other lines of a statement; here each has one
        number = int(found[0].split("mistakes.cu.cpp:")[1].split(" ")[0])
        assert code in SOURCE.splitlines()[number - 1]


def test_after_a_mistake_kernels_run_as_before(mistakes: Emulation):
    for kernel in ("barrier_of_some", "beyond_shared", "two_collectives"):
        run(mistakes, kernel)
        assert run(mistakes, "sum_of_block")[1] == []
