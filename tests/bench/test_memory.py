"""The promise: no memory that grows with tracks x hits beyond what is returned."""

import pytest

from hitpool.bench.cases import Case
from hitpool.bench.memory import measure
from hitpool.bench.ways import OURS

LARGE = Case("", 1, 64, 40000, 32)
CELLS = 64 * 40000 * 32 * 4  # bytes of a tensor [B, N, M, D], of which the alternatives need several
SLACK = 2**20  # code, threads, and the kernel's counting of pages


@pytest.mark.parametrize("threads", [1, 2])
def test_forward_and_backward_take_little_more_than_what_they_return(threads):
    memory = measure(OURS, LARGE, threads)
    assert memory.outputs == 64 * 4 * 32 * 4
    assert memory.gradients == 64 * 40000 * 4 + 40000 * 32 * 4
    scratch_forward = threads * 16 * 40000
    scratch_backward = threads * 16 * (40000 + 32)
    assert memory.forward <= memory.outputs + scratch_forward + SLACK
    assert memory.backward <= memory.gradients + scratch_backward + SLACK
    assert memory.step <= memory.outputs + memory.gradients + scratch_forward + scratch_backward + SLACK
    assert 100 * memory.forward < CELLS
    assert memory.allocated < SLACK


def test_the_memory_of_expand_is_seen():
    case = Case("", 1, 8, 20000, 32)
    cells = 8 * 20000 * 32 * 4
    memory = measure("expand", case, threads=1)
    assert cells < memory.forward < 3 * cells
    assert cells < memory.allocated < 3 * cells
    assert 3 * cells < memory.step < 6 * cells
    assert memory.allocations > 10


def test_a_process_that_ends_early_is_an_error():
    with pytest.raises(RuntimeError, match="the process that measures no-such-way ended with code 1"):
        measure("no-such-way", Case("", 1, 1, 4, 2), threads=1)
