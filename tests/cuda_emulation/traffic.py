"""Memory traffic of the kernels of weighted_pool, counted by the emulator: requests of warps and sectors of 32 bytes.

    cmake -S tests/cuda_emulation -B build/cuda_emulation && cmake --build build/cuda_emulation
    python -m tests.cuda_emulation.traffic build/cuda_emulation [--places]

Sectors are what the kernels ask of the L2 cache; how many of them come from memory is not emulated. The shapes are
small pieces of those of the benchmarks, which behave alike per track and hit. Built with g++: clang moves packets in
pieces.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import torch

from .cases import make_call
from .kernels import Kernels

# title, (B, N, M, D), mean of the logits, dtype
PIECES = (
    ("(200, 2, 600, 32), 10 %", (3, 2, 600, 32), -6.0, torch.float32),
    ("(8, 64, 3000, 64), 10 %", (1, 6, 3000, 64), -6.0, torch.float32),
    ("the same in bfloat16", (1, 6, 3000, 64), -6.0, torch.bfloat16),
    ("(1, 2000, 60000, 32), 1 %", (1, 300, 2048, 32), -9.3, torch.float32),
    ("(1, 2000, 60001, 32), 1 %", (1, 300, 2047, 32), -9.3, torch.float32),
)


def table(kernels: Kernels, places: bool) -> list[str]:
    lines = [
        "| shape | kernel | what | requests | lanes | sectors / request | used | MB of sectors |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for title, shape, shift, dtype in PIECES:
        call = make_call(shape, 0.1, dtype, dtype, seed=1, valid=True, shift=shift)
        kernels.traffic_of = {}
        kernels.run(call)
        if problems := kernels.take_problems():
            raise SystemExit("\n".join(problems))
        sums = defaultdict(lambda: [0, 0, 0, 0])
        for kernel, found in kernels.traffic_of.items():
            for requests in found:
                what = "write" if requests.write else "read"
                key = (kernel, f"{what} {requests.place[0]}" if places else what)
                sums[key] = [a + b for a, b in zip(sums[key], requests[2:], strict=True)]
        for (kernel, what), (requests, lanes, sectors, size) in sorted(sums.items()):
            numbers = f"{requests} | {lanes / requests:.1f} | {sectors / requests:.2f} | {size / sectors / 32:.2f}"
            lines.append(f"| {title} | {kernel} | {what} | {numbers} | {sectors * 32e-6:.3f} |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where libchecked.so was built")
    parser.add_argument("--places", action="store_true", help="a row for every line of the code")
    arguments = parser.parse_args()
    print("\n".join(table(Kernels(arguments.folder / "libchecked.so"), arguments.places)))
