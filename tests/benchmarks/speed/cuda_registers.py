"""Registers, spills and shared memory of every kernel of weighted_pool, as ptxas reports them, against bounds.

    python tests/benchmarks/speed/cuda_registers.py

Needs nvcc and c++filt, neither torch nor a GPU. The exit status is 1 if a kernel exceeds its bounds; each that does is
named. .ci/cuda-build runs it.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = ("forward", "backward_logits", "backward_features")
ARCHITECTURES = ("sm_80", "sm_90")
FLAGS = ("-std=c++20", "-O3", "-DNDEBUG", "-I", str(ROOT / "csrc"))  # those of a release build

WARP = 32
REGISTERS = 2**16  # of a multiprocessor, on both architectures
REGISTER_UNIT = 8  # registers of a thread are handed out in eights
SHARED = 164 * 1024  # of a multiprocessor of sm_80; sm_90 has 228 KiB
RESERVED = 1024  # shared memory that the system takes for each block
LAUNCHABLE = 48 * 1024  # shared memory of a block that needs no attribute of the kernel
SIZES = {"double": 8, "float": 4, "__half": 2, "__nv_bfloat16": 2}

# (kernel, type of the arithmetic) -> warps of the largest block, blocks that shall fit on a multiprocessor (the two
# numbers of __launch_bounds__), bytes that may be spilled. A value that a loop reads ahead is waited for when it is
# spilled, so that few bytes can cost much.
BOUNDS = {
    ("forward", "float"): (8, 4, 8),
    ("forward", "double"): (8, 2, 0),
    ("merge", "float"): (4, 8, 0),
    ("merge", "double"): (4, 7, 0),
    ("backward_logits", "float"): (8, 4, 0),
    ("backward_logits", "double"): (8, 2, 0),
    ("backward_features", "float"): (8, 4, 16),
    ("backward_features", "double"): (4, 4, 0),
}


def dynamic_shared(kernel: str, arithmetic: str, values: str) -> int:
    """Bytes for each warp that the kernel is launched with: sizeof(WarpMemory) in its file. The only copy of that.

    Args:
        kernel: Name without `_kernel`.
        arithmetic: Type T.
        values: Type F, in which the features are stored.
    """
    number = SIZES[arithmetic]
    tile = WARP * (2 if values == "double" else 4)  # kTile
    if kernel == "forward":
        return max(256 * (number + 4), tile * (3 * number + 2 * 4))  # kCapacity of weight, hit; or a tile of results
    if kernel == "merge":
        return 0
    if kernel == "backward_logits":
        return (256 if arithmetic == "double" else 400) * (2 * number + 4)  # capacity of weight, dot, hit
    if kernel == "backward_features":
        return 32 * 32 * number + 32 * number + (32 + 32) * 4  # weight, factor, and bits of tracks and extremes
    raise ValueError(f"expected {', '.join(SOURCES)}, got {kernel}, whose shared memory is not known here")


@dataclass
class Instance:
    """A kernel with its types, for one architecture."""

    kernel: str
    types: tuple[str, ...]  # arguments of the template: T, L, F, aligned; of merge T, F
    architecture: str
    stores: int  # bytes spilled
    loads: int
    registers: int
    static: int  # bytes of shared memory

    @property
    def name(self) -> str:
        return f"{self.kernel}<{', '.join(self.types)}> {self.architecture}"

    @property
    def shared(self) -> int:
        """Bytes of shared memory of the largest block that is launched."""
        warps, _, _ = BOUNDS[self.kernel, self.types[0]]
        values = next(kind for kind in reversed(self.types) if kind in SIZES)  # F; after it comes a flag, or nothing
        return self.static + warps * dynamic_shared(self.kernel, self.types[0], values)

    def excesses(self) -> list[str]:
        """A line for each bound that is exceeded."""
        warps, blocks, spills = BOUNDS[self.kernel, self.types[0]]
        registers = REGISTERS // (blocks * warps * WARP) // REGISTER_UNIT * REGISTER_UNIT
        shared = min(LAUNCHABLE, SHARED // blocks - RESERVED)
        values = {
            "registers": (self.registers, registers),
            "bytes of shared memory": (self.shared, shared),
            "bytes spilled": (max(self.stores, self.loads), spills),
        }
        return [
            f"{self.name}: expected at most {most} {what}, got {value}"
            for what, (value, most) in values.items()
            if value > most
        ]


def read_ptxas(text: str) -> list[Instance]:
    """Kernels in what `nvcc -Xptxas -v` prints, with names that c++filt has made readable.

    Raises:
        ValueError: no kernel, or not all about one.
    """
    pattern = re.compile(
        r"Compiling entry function '.*?(?P<kernel>\w+)_kernel<(?P<types>[\w, ]+)>\(.*' for '(?P<architecture>\w+)'"
        r"(?:(?!Compiling entry)[\s\S])*?(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
        r"(?:(?!Compiling entry)[\s\S])*?Used (?P<registers>\d+) registers(?:.*?, (?P<static>\d+) bytes smem)?"
    )
    instances = [
        Instance(
            match["kernel"],
            tuple(match["types"].split(", ")),
            match["architecture"],
            *(int(match[name] or 0) for name in ("stores", "loads", "registers", "static")),
        )
        for match in pattern.finditer(text)
    ]
    announced = text.count("Compiling entry function")
    if not instances or len(instances) != announced:
        raise ValueError(f"expected ptxas to tell about each of {announced} kernels, got {len(instances)} of them")
    return instances


def compile_kernels(source: str, architecture: str) -> list[Instance]:
    """Compiles a file of kernels and reads what ptxas says about them."""
    with tempfile.TemporaryDirectory() as folder:
        path = ROOT / f"csrc/ops/cuda/weighted_pool_{source}.cu"
        output = ["-cubin", "-arch", architecture, "-Xptxas", "-v", "-o", f"{folder}/kernels.cubin"]
        compiled = subprocess.run(["nvcc", *FLAGS, *output, str(path)], capture_output=True, text=True)
    if compiled.returncode != 0:
        sys.exit(f"{path.name}, {architecture}: nvcc failed\n{compiled.stderr}")
    readable = subprocess.run(["c++filt"], input=compiled.stderr, capture_output=True, text=True, check=True)
    return read_ptxas(readable.stdout)


def markdown(instances: Iterable[Instance]) -> str:
    """The table."""
    rows = [
        "| kernel | T, L, F, aligned | architecture | registers | spilled, stores / loads | shared memory |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {one.kernel} | {', '.join(one.types)} | {one.architecture} | "
        f"{one.registers} | {one.stores} / {one.loads} | {one.shared} |"
        for one in instances
    ]
    return "\n".join(rows)


def main() -> None:
    """Prints the table and what exceeds its bounds."""
    instances = [one for source in SOURCES for name in ARCHITECTURES for one in compile_kernels(source, name)]
    print(markdown(instances))
    excesses = [line for one in instances for line in one.excesses()]
    if excesses:
        sys.exit("\n".join(excesses))


if __name__ == "__main__":
    main()
