"""What cuda_registers.py reads and refuses; the compiler is not needed."""

import pytest
from speed import cuda_registers

SPACE = "hitpool::cuda::(anonymous namespace)::"
PTXAS = f"""\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'void {SPACE}forward_kernel<float, __half, float, true>({SPACE}Problem<float, \
__half, float, true>, float*, int*, float*)' for 'sm_90'
ptxas info    : Function properties for void {SPACE}forward_kernel<float, __half, float, true>()
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 0 bytes cumulative stack size, 32 bytes smem
ptxas info    : Compile time = 252.850 ms
ptxas info    : Compiling entry function 'void {SPACE}backward_features_kernel<double, float, double, false>(\
long)' for 'sm_80'
ptxas info    : Function properties for void {SPACE}backward_features_kernel<double, float, double, false>(long, int)
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 86 registers, used 1 barriers, 504 bytes cmem[0], 88 bytes cmem[2]
"""


def test_reads_what_ptxas_prints():
    forward, features = cuda_registers.read_ptxas(PTXAS)
    assert forward.name == "forward<float, __half, float, true> sm_90"
    assert (forward.stores, forward.loads, forward.registers, forward.static) == (0, 0, 64, 32)
    assert forward.shared == 8 * 128 * 20 + 32  # 128 columns of sum, high, low and two hits for each of 8 warps
    assert features.shared == 4 * (1024 * 8 + 32 * 8 + 64 * 4)
    assert not forward.excesses()
    assert not features.excesses()
    table = cuda_registers.markdown([forward, features])
    assert table.splitlines()[-1] == "| backward_features | double, float, double, false | sm_80 | 86 | 0 / 0 | 34816 |"


@pytest.mark.parametrize(
    ("old", "new", "excess"),
    [
        ("Used 64", "Used 72", "at most 64 registers, got 72"),
        ("0 bytes spill loads", "12 bytes spill loads", "at most 8 bytes spilled, got 12"),
        (", 32 bytes smem", ", 32768 bytes smem", "at most 40960 bytes of shared memory, got 53248"),
    ],
)
def test_names_the_kernel_that_exceeds_a_bound(old: str, new: str, excess: str):
    forward, _ = cuda_registers.read_ptxas(PTXAS.replace(old, new, 1))
    assert forward.excesses() == [f"forward<float, __half, float, true> sm_90: expected {excess}"]


def test_refuses_what_it_cannot_read():
    with pytest.raises(ValueError, match=r"each of 2 kernels, got 1 of them"):
        cuda_registers.read_ptxas(PTXAS.replace("Used 64", "Needs 64"))
    with pytest.raises(ValueError, match="got scan, whose shared memory is not known"):
        cuda_registers.dynamic_shared("scan", "float", "float")
