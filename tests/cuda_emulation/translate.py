"""Rewrites what no macro can express of CUDA, so that g++ and clang compile it for the emulator.

    python translate.py SOURCE TARGET          a file of csrc/ops/cuda

- `extern __shared__ ... name[];` and `__shared__ T name[n];` become pointers into the emulator's shared memory;
- `kernel<<<configuration>>>(arguments)` becomes a call of `cuda_emulation::launch`;
- ops are registered for the CPU.
"""

import re
import sys
from pathlib import Path

DYNAMIC = re.compile(r"extern __shared__ (?:__align__\(\d+\) )?unsigned char (\w+)\[\];")
STATIC = re.compile(r"__shared__ (\w+) (\w+)\[([^\]]+)\];")
LAUNCH = re.compile(r"(\w+(?:<[\w, :]*>)?)\s*<<<")


def split(text: str) -> list[str]:
    """The parts between commas that are not inside of brackets or template arguments."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0 and not re.search(r"\w<[^<>()]*$", text[start:i]):
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, text[start:]]]


def closing(text: str, start: int) -> int:
    """Where the bracket is closed that was opened before `start`."""
    depth = 1
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    raise ValueError("a bracket is not closed")


def translate(text: str) -> str:
    """A CUDA source as C++ for the emulator."""
    text = DYNAMIC.sub(r"unsigned char* const \1 = cuda_emulation::dynamic_shared();", text)
    text = STATIC.sub(r"\1* const \2 = cuda_emulation::static_shared<\1>(__COUNTER__, \3);", text)
    while launch := LAUNCH.search(text):
        end = text.index(">>>(", launch.end())
        close = closing(text, end + 4)
        grid, block, *rest = split(text[launch.end() : end])
        configuration = ", ".join([f"dim3({grid})", f"dim3({block})", *rest])
        call = f"cuda_emulation::launch({{{configuration}}}, [](auto... a) {{ {launch[1]}(a...); }}, "
        text = text[: launch.start()] + call + text[end + 4 : close] + text[close:]
    text = text.replace("TORCH_LIBRARY_IMPL(hitpool, CUDA, m)", "TORCH_LIBRARY_IMPL(hitpool, CPU, m)")
    code = re.sub(r"//.*", "", text)
    if left := re.search(r"__shared__.*|.*<<<.*", code):
        raise ValueError(f"the emulator cannot translate: {left[0].strip()}")
    return text


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(translate(source.read_text(encoding="utf-8")), encoding="utf-8")
