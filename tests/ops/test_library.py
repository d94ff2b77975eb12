"""The compiled library: where it is, what it needs, which instruction sets it uses, what happens if it does not fit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import torch

import hitpool


def run(code, *arguments, **environment):
    """Runs Python code in a process of its own, away from the source tree."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        cwd=Path(sys.executable).parent,
        timeout=120,
    )


def test_loads_in_a_process_that_never_imported_hitpool():
    code = """
import sys, torch
torch.ops.load_library(sys.argv[1])
pooled = torch.ops.hitpool.weighted_pool(torch.zeros(1, 2, 3), torch.ones(1, 3, 4))
assert pooled.shape == (1, 2, 4, 4), pooled.shape
assert torch.ops.hitpool.pseudorapidity(torch.tensor(1.0)).item() > 0
assert "hitpool" not in sys.modules
"""
    result = run(code, hitpool.library_path())
    assert result.returncode == 0, result.stderr


def test_another_minor_version_of_torch_is_an_import_error():
    result = run("import torch; torch.__version__ = '2.99.1'; import hitpool.ops")
    assert result.returncode != 0
    built = torch.__version__.split("+")[0]
    assert "ImportError" in result.stderr
    for words in (f"built for torch {built}", "torch 2.99.1 is running", "pip install"):
        assert words in result.stderr


def test_a_missing_extension_is_an_import_error_that_says_what_to_do():
    result = run("import sys; sys.modules['hitpool._C'] = None; import hitpool.ops")
    assert result.returncode != 0
    assert "compiled part is missing" in result.stderr
    assert "pip install" in result.stderr


def test_the_distribution_requires_the_minor_version_of_torch_that_it_was_built_with():
    from importlib.metadata import requires

    from hitpool import _C

    built = ".".join(_C.torch_version.split(".")[:2])
    assert f"torch=={built}.*" in requires("hitpool")


def test_every_instruction_set_gives_the_same(capability):
    code = """
import torch, hitpool
from hitpool.ops import reference
torch.manual_seed(0)
for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
    for size in (3, 16, 40, 130):
        logits = (3 * torch.randn(5, 2, 100)).to(dtype).requires_grad_()
        features = torch.randn(5, 100, size).to(dtype).requires_grad_()
        valid = torch.rand(5, 100) > 0.2
        ours, theirs = (op(logits, features, valid) for op in (hitpool.weighted_pool, reference.weighted_pool))
        tolerance = 0.1 if dtype in (torch.bfloat16, torch.float16) else 1e-4
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)
        grad = torch.randn_like(ours)
        a, b = (torch.autograd.grad(r, (logits, features), grad) for r in (ours, theirs))
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)
print(torch.backends.cpu.get_cpu_capability())
"""
    result = run(code, ATEN_CPU_CAPABILITY=capability)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().lower() in ("default", "avx2", "avx512")


def test_the_library_needs_no_python():
    assert not re.search(rb"\x00_?Py[A-Za-z]*_\w+\x00", Path(hitpool.library_path()).read_bytes())
