"""The CUDA kernels of weighted_pool, executed on the CPU: every access checked, under several schedules."""

import os

import pytest
import torch
from torch import Tensor

from . import cases
from .definition import differences
from .emulation import Schedule
from .kernels import NAMES, Call, Kernels
from .schedules import run, schedules

CASES = int(os.environ.get("HITPOOL_CUDA_CASES", "40"))  # random ones; as many as wanted
SEED = int(os.environ.get("HITPOOL_CUDA_SEED", "11"))


def checked(kernels: Kernels, call: Call, seed: int, shift: int = 0, output_shift: int = 0) -> dict[str, Tensor]:
    """The results, without a finding of the emulator, and equal in every bit under all schedules."""
    results, problems = run(kernels, call, seed, shift, output_shift)
    assert problems == []
    return results


@pytest.mark.parametrize("case", cases.DIRECTED, ids=lambda case: "-".join(map(str, case[:5])))
def test_limits_of_the_design(kernels: Kernels, case: tuple):
    *shape, threshold, logits_dtype, features_dtype = case
    call = cases.make_call(tuple(shape), threshold, logits_dtype, features_dtype, seed=5, shift=8)
    assert differences(checked(kernels, call, 7), call) == []


@pytest.mark.parametrize("number", range(CASES))
def test_random_calls(kernels: Kernels, number: int):
    call, *shifts = cases.random_case(SEED + number)
    assert differences(checked(kernels, call, number, *shifts), call) == []


@pytest.mark.parametrize("number", range(CASES // 4))
def test_nan_and_infinity_are_where_the_cpu_has_them(kernels: Kernels, number: int):
    call, *shifts = cases.random_case(SEED + 10_000 + number, special=True)
    results = checked(kernels, call, number, *shifts)
    arguments = call.logits, call.features, call.valid
    pooled, index, sums = torch.ops.hitpool._weighted_pool_for_backward(*arguments, threshold=call.threshold)
    grads = torch.ops.hitpool._weighted_pool_backward(call.grad, index, sums, *arguments, threshold=call.threshold)
    for name, expected in zip(NAMES, (pooled, index, sums, *grads), strict=True):
        result = results[name]
        # Sums are added up in another order; an infinity beside another one is NaN in every order.
        torch.testing.assert_close(result.isnan(), expected.isnan(), msg=f"{name}: NaN in other places")
        torch.testing.assert_close(result.isposinf(), expected.isposinf(), msg=f"{name}: infinity in other places")
        torch.testing.assert_close(result.isneginf(), expected.isneginf(), msg=f"{name}: infinity in other places")


def test_no_schedule_is_like_another(kernels: Kernels):
    """The number of changes of threads tells them apart."""
    call = cases.make_call((1, 2, 300, 8), 0.1, torch.float32, torch.float32, seed=1)
    switches = []
    for schedule in schedules(1):
        before = kernels.counters()
        kernels.set_schedule(Schedule(schedule.order, schedule.preempt_one_in, seed=1))
        kernels.run(call)
        after = kernels.counters()
        assert after.launches == before.launches + 4
        assert after.accesses > before.accesses + 4 * 600
        switches.append(after.switches - before.switches)
    assert switches[0] == switches[1] < min(switches[2:])
