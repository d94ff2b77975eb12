import math
import multiprocessing
import os
import signal

import pytest

from hitpool.bench.cases import Case
from hitpool.bench.measure import time_case
from hitpool.bench.process import value_of, values_of
from hitpool.bench.ways import OURS

CASE = Case("", 2, 2, 30, 4)


def test_each_call_has_a_process_of_its_own() -> None:
    assert value_of("a root", math.sqrt, 2.0) == math.sqrt(2)
    assert len({os.getpid(), value_of("a number", os.getpid), value_of("a number", os.getpid)}) == 3


def test_values_and_steps_arrive_one_by_one() -> None:
    steps: list[str] = []
    rows = values_of("pooling", time_case, CASE, (OURS,), (1,), 2, 1e6, on_step=steps.append)
    assert next(rows).mode == "forward"
    assert "round 2" in steps
    assert {row.mode for row in rows} == {"forward", "forward + backward"}


def test_the_process_ends_with_whoever_reads_from_it() -> None:
    rows = values_of("pooling", time_case, CASE, (OURS,), (1,) * 10_000, 2, 1e6)  # would take minutes
    next(rows)
    assert len(multiprocessing.active_children()) == 1
    rows.close()
    assert not multiprocessing.active_children()


def test_ctrl_c_is_left_to_the_process_that_reads() -> None:
    assert value_of("a signal", signal.getsignal, signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("function", "argument", "code"), [(os._exit, 3, 3), (signal.raise_signal, 9, -9), (math.sqrt, -1.0, 1)]
)
def test_an_early_end_is_an_error(function, argument: float, code: int) -> None:
    with pytest.raises(RuntimeError, match=f"the process that measures this ended with code {code}$"):
        value_of("this", function, argument)
