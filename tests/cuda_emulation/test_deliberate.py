"""The tests of the kernels can fail: each deliberate mistake in a copy of them is noticed.

HITPOOL_CUDA_MISTAKES=true pytest -n auto tests/cuda_emulation/test_deliberate.py     20 minutes on 2 cores
"""

import os
import shutil
from pathlib import Path

import pytest

from . import cases
from .conftest import FOLDER, build
from .definition import differences
from .deliberate import MISTAKES, Mistake
from .kernels import Kernels
from .schedules import run
from .test_kernels import SEED

CSRC = FOLDER.parents[1] / "csrc"
CASES = 400


def sources(folder: Path, mistake: Mistake | None) -> Path:
    """A copy of what is compiled, with the mistake; without the half types, for speed."""
    shutil.copytree(FOLDER, folder / "tests" / "cuda_emulation")
    shutil.copytree(CSRC, folder / "csrc")
    changes = [
        ("cuda/packet.cuh", "    case Dtype::bfloat16: return body(__nv_bfloat16{});\n", "    default: break;\n"),
        ("cuda/packet.cuh", "    case Dtype::float16: return body(__half{});\n", ""),
    ]
    if mistake is not None:
        changes.append(mistake[1:])
    for file, code, wrong in changes:
        path = folder / "csrc" / "ops" / file
        text = path.read_text()
        assert text.count(code) >= 1, f"{file} has no {code!r} any more"
        path.write_text(text.replace(code, wrong, 1))
    return folder / "tests" / "cuda_emulation"


def first_problem(kernels: Kernels) -> str | None:
    """What the directed cases and then the random ones find, up to the first finding."""
    directed = [cases.make_call(case[:4], *case[4:], seed=5, shift=8) for case in cases.DIRECTED]
    half = {"torch.float16", "torch.bfloat16"}
    for number in range(-len(directed), CASES):
        call, *shifts = (directed[number], 0, 0) if number < 0 else cases.random_case(SEED + number)
        if {str(call.logits.dtype), str(call.features.dtype)} & half:
            continue
        results, problems = run(kernels, call, number, *shifts)
        if found := problems or differences(results, call):
            return f"case {number}, {found[0]}"
    return None


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name.replace(" ", "-"))
def test_mistake_is_in_the_code(mistake: Mistake):
    """A change of the kernels must not leave the list behind."""
    assert mistake.code in (CSRC / "ops" / mistake.file).read_text()


@pytest.mark.skipif(os.environ.get("HITPOOL_CUDA_MISTAKES") != "true", reason="HITPOOL_CUDA_MISTAKES=true runs it")
@pytest.mark.parametrize(
    "mistake", [None, *MISTAKES], ids=lambda mistake: mistake.name.replace(" ", "-") if mistake else "none"
)
def test_mistake_is_noticed(tmp_path: Path, mistake: Mistake | None):
    build(tmp_path / "build", source=sources(tmp_path, mistake))
    problem = first_problem(Kernels(tmp_path / "build" / "libchecked.so"))
    print(problem)
    assert (problem is None) == (mistake is None)
