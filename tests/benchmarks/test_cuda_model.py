"""The model of the CUDA kernels: what must hold whatever its constants are, and what was measured elsewhere."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from speed import cuda_bandwidth, cuda_model, cuda_registers
from speed.cuda_model import CASES, FEATURES, FORWARD, GPUS, KERNELS, LOGITS, MERGE, Case

H100 = GPUS["H100"]
ALL = [Case(shape, share, size) for shape, share in CASES for size in (4, 2)]


def test_blocks_at_once_by_hand():
    assert cuda_model.blocks_at_once(FORWARD, GPUS["A100"], 8) == 4  # 8 x 32 x 64 registers of 65,536
    assert cuda_model.blocks_at_once(LOGITS, GPUS["A100"], 8) == 4  # 39,424 bytes of 164 KiB
    assert cuda_model.blocks_at_once(replace(LOGITS, shared=5760), GPUS["A100"], 8) == 3  # 47,104 bytes
    assert cuda_model.blocks_at_once(FEATURES, H100, 8) == 4
    assert cuda_model.blocks_at_once(FEATURES, H100, 1) == 32  # no more blocks, whatever their size
    for kernel in (*KERNELS, MERGE):
        warps, blocks, _ = cuda_registers.BOUNDS[kernel.name, "float"]
        assert kernel.shared == cuda_registers.dynamic_shared(kernel.name, "float", "float")
        assert cuda_model.blocks_at_once(kernel, GPUS["A100"], warps) >= blocks


def test_constants_are_those_of_the_kernels():
    text = "".join(path.read_text() for path in sorted((cuda_registers.ROOT / "csrc/ops/cuda").glob("*.cu*")))
    constants = {name: int(value) for name, value in re.findall(r"constexpr \w+ (k\w+) = (\d+);", text)}
    assert constants["kBatch"] == cuda_model.BATCH
    assert (constants["kEnoughBlocks"], constants["kMinPart"]) == (cuda_model.ENOUGH, cuda_model.PART)
    assert constants["kHitsPerWarp"] == FORWARD.per_warp == LOGITS.per_warp
    assert (constants["kTracksPerWarp"], constants["kLogits"]) == (FEATURES.per_warp, FEATURES.logits)
    assert constants["kCapacity"] == FORWARD.capacity
    assert f"capacity = sizeof(T) == 8 ? 256 : {LOGITS.capacity};" in text


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((1, 2, 60000, 32), 29),  # of at least 2,048 hits
        ((1, 2, 3000, 32), 1),
        ((1, 100, 600000, 32), 3),  # 300 blocks
        ((1, 100, 600000, 200), 2),  # two tiles of features: 400 blocks, those of backward_logits have both
        ((1, 256, 600000, 32), 1),
    ],
)
def test_few_long_rows_are_cut_into_parts(shape: tuple[int, int, int, int], parts: int):
    case, tiles, rows = Case(shape, 0.1), -(-shape[3] // 128), shape[0] * shape[1]
    work = cuda_model.row_work(FORWARD, case)
    assert (work.blocks, work.parts) == (rows * tiles * parts, parts)
    logits = cuda_model.row_work(LOGITS, case)
    assert logits.parts <= 1  # nothing to merge
    assert (logits.blocks == work.blocks) == (tiles == 1)
    found, alone = cuda_model.predict(FORWARD, H100, case), cuda_model.launch(FORWARD, H100, work)
    assert (found.seconds > alone.seconds + H100.start) == (parts > 1)


def test_bytes_are_those_of_the_measurement():
    case = Case((3, 2, 5, 8), share=cuda_model.VALID)  # every valid hit is selected by both tracks
    logits, features, valid = torch.full((3, 2, 5), 9.0), torch.ones(3, 5, 8), torch.ones(3, 5, dtype=torch.bool)
    launches = cuda_bandwidth.expected_launches("", logits, features, valid, 0.1, backward=True)
    union = 3 * 5 * 8 * 4 * (1 - cuda_model.VALID)  # the measurement knows which hits are valid
    for kernel, launch, less in zip(KERNELS, launches, (union, union, 0), strict=True):
        assert cuda_model.least_bytes(kernel, case) == pytest.approx(launch.least - less)


def test_more_never_takes_longer():
    for case in ALL:
        for kernel in KERNELS:
            for gpu in GPUS.values():
                found = cuda_model.predict(kernel, gpu, case)
                for faster in (
                    replace(gpu, bandwidth=2 * gpu.bandwidth),
                    replace(gpu, l2_bandwidth=2 * gpu.l2_bandwidth),
                    replace(gpu, latency=gpu.latency / 2),
                    replace(gpu, clock=2 * gpu.clock),
                ):
                    assert cuda_model.predict(kernel, faster, case).seconds <= found.seconds
                assert found.seconds >= max(limit for name, limit in found.limits.items() if name != "latency")
                assert found.work.l2 >= found.work.least
                assert cuda_model.predict(replace(kernel, step=2 * kernel.step), gpu, case).seconds > found.seconds


def test_fewer_registers_never_lower_the_occupancy():
    for warps in (1, 2, 4, 8):
        blocks = [cuda_model.blocks_at_once(replace(FORWARD, registers=n), H100, warps) for n in range(255, 15, -1)]
        assert blocks == sorted(blocks)


def test_a_turn_of_many_is_bound_by_the_slowest_server_and_of_one_by_nothing():
    assert cuda_model.turn(5.0, [1.0, 2.0], 0.0, 1) == 8.0
    assert cuda_model.turn(5.0, [1.0, 2.0], 0.0, 1000) == pytest.approx(2000, rel=0.01)
    turns = [cuda_model.turn(5.0, [1.0, 2.0], 0.5, number) for number in range(1, 50)]
    assert turns == sorted(turns)


@pytest.mark.parametrize(
    ("multiprocessors", "most", "measured"),  # GB/s of reads of 256 bytes, by warps of a multiprocessor: gpu-benches
    [
        (108, 1890, {2: 85, 16: 619, 32: 1122, 48: 1490, 64: 1769}),  # A100
        (132, 3890, {2: 123, 16: 935, 32: 1707, 48: 2297, 64: 2756}),  # H200
    ],
)
def test_follows_published_reads(multiprocessors: int, most: float, measured: dict[int, float]):
    idle = 2 * 256 * multiprocessors / measured[2]  # ns of a turn: GB/s are bytes per ns
    demand = 256 * multiprocessors / most
    for warps, speed in measured.items():
        turn = cuda_model.turn(idle - demand, [demand], 1e9 * cuda_model.GROWTH, warps)
        assert warps * 256 * multiprocessors / turn == pytest.approx(speed, rel=0.05)


def test_prints_its_tables():
    command = [sys.executable, str(Path(cuda_model.__file__)), "--gpu", "A100", "--shapes", "1,2,60000,32"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line for line in lines if line and "|" not in line] == [kernel.name for kernel in KERNELS]
    rows = [line.strip("| ").split(" | ") for line in lines if "A100" in line]
    assert len(rows) == 6
    assert rows[0][:5] == ["1, 2, 60000, 32", "0.1", "float32", "A100", "58"]  # two rows, in 29 parts each
    assert all(float(cells[-1]) < 1 for cells in rows)
