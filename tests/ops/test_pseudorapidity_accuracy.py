"""Accuracy of pseudorapidity and its gradient on every instruction set, and results that do not depend on the place."""

import json
import math
import os
import subprocess
import sys

import mpmath
import pytest
import torch

import hitpool

# Runs with one instruction set: the largest error in units of the last place, forward and backward.
MEASURE = """
import json, math, sys, torch, hitpool

DIGITS = {torch.float64: 53, torch.float32: 24, torch.bfloat16: 8, torch.float16: 11}

def units(value, exact, rest=0):
    '''|value - (exact + rest)| in units of the last place; beyond the range of the type value is infinite.'''
    last_place = torch.ldexp(torch.ones_like(exact), torch.frexp(exact).exponent - DIGITS[value.dtype])
    error = ((value.double() - exact) - rest).abs() / last_place
    beyond = exact.abs() > torch.finfo(value.dtype).max
    assert value[beyond].isinf().all() and not error[~beyond].isnan().any()
    return error[~beyond].max().item()

def measure(theta, eta, gradient):
    return [
        units(torch.ops.hitpool.pseudorapidity(theta), *eta),
        units(torch.ops.hitpool._pseudorapidity_backward(torch.ones_like(theta), theta), *gradient),
    ]

def by_the_formula(theta):
    exact = theta.double()
    return measure(theta, [-torch.log(torch.tan(exact / 2))], [-1 / torch.sin(exact)])

table = torch.load(sys.argv[1])
pi = torch.tensor(math.pi)
bits = torch.arange(1, pi.view(torch.int32).item(), 997, dtype=torch.int32)
result = {"float32": by_the_formula(bits.view(torch.float32)), "float64": measure(**table)}
for dtype in (torch.bfloat16, torch.float16):
    every = torch.arange(1, pi.to(dtype).view(torch.int16).item(), dtype=torch.int16).view(dtype)
    result[str(dtype).removeprefix("torch.")] = by_the_formula(every)
print(json.dumps(result))
"""
LIMITS = {"float32": [2, 3], "float64": [4, 4], "bfloat16": [0.501, 0.501], "float16": [0.501, 0.501]}


def pairs(exact):
    """Numbers of mpmath as a float64 and the rest, so that an error well below its last place can be seen."""
    high = [float(value) for value in exact]
    return torch.tensor([high, [float(value - h) for value, h in zip(exact, high, strict=True)]], dtype=torch.float64)


@pytest.fixture(scope="module")
def exact_table(tmp_path_factory):
    """Angles in float64, eta and its derivative: everywhere, subnormal, and where the kernels change their formula."""
    spread = torch.rand(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theta = [math.pi * spread, 2 ** (-1074 * spread), 1e-3 * spread, math.pi - 2 ** (-52 * spread)]
    for special in (1.0, 2 / 3, math.pi / 2, math.pi - 1, math.pi - 2 / 3, math.pi / 4, 3 * math.pi / 4):
        theta.append(special + (spread - 0.5) * 2.0 ** -torch.arange(0, 50, 0.125, dtype=torch.float64))
    theta = torch.cat(theta)
    theta = theta[(theta > 0) & (theta < math.pi)].unique()
    assert len(theta) > 4000
    with mpmath.workdps(60):
        angles = [mpmath.mpf(angle) for angle in theta.tolist()]
        eta = pairs([-mpmath.log(mpmath.tan(angle / 2)) for angle in angles])
        gradient = pairs([-1 / mpmath.sin(angle) for angle in angles])
    path = tmp_path_factory.mktemp("exact") / "table.pt"
    torch.save({"theta": theta, "eta": eta, "gradient": gradient}, path)
    return path


def test_units_in_the_last_place_on_every_instruction_set(capability, exact_table):
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, exact_table], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    worst = json.loads(result.stdout)
    for dtype, limits in LIMITS.items():
        for error, limit, direction in zip(worst[dtype], limits, ("forward", "backward"), strict=True):
            assert error <= limit, (dtype, direction, worst)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_place_of_an_angle_does_not_change_its_result(dtype):
    theta = torch.linspace(0, 3.14, 1000, dtype=torch.float64).to(dtype)
    grad = torch.linspace(-2, 2, 1000, dtype=torch.float64).to(dtype)
    eta = hitpool.pseudorapidity(theta)
    gradient = torch.ops.hitpool._pseudorapidity_backward(grad, theta)
    for first, last in ((0, 1), (1, 64), (3, 130), (65, 999), (937, 1000)):
        part = slice(first, last)
        assert torch.equal(hitpool.pseudorapidity(theta[part]), eta[part])
        assert torch.equal(torch.ops.hitpool._pseudorapidity_backward(grad[part], theta[part]), gradient[part])
