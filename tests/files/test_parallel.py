import os
import signal
import subprocess
import sys
import time

import pytest

from hitpool.files import ordered_map


def slow_square(x):
    time.sleep(0.02 * (x % 3))
    return x * x, os.getpid()


def fail_at_five(x):
    if x == 5:
        raise ValueError(f"cannot do {x}")
    return x


def die_at_five(x):
    if x == 5:
        os._exit(3)
    return x


@pytest.mark.parametrize("processes", [1, 2, 3, 50])
def test_results_come_in_order(processes):
    results = list(ordered_map(slow_square, range(12), processes))
    assert [r for r, _ in results] == [x * x for x in range(12)]
    workers = {pid for _, pid in results}
    assert len(workers) == min(processes, 12)
    assert (os.getpid() in workers) == (processes == 1)


def test_no_items():
    assert list(ordered_map(slow_square, [], 2)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_reaches_the_caller_after_the_earlier_results(processes):
    results = ordered_map(fail_at_five, range(9), processes)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="cannot do 5") as error:
        next(results)
    if processes == 2:
        assert "fail_at_five" in error.value.__notes__[0]


def test_a_dead_process_is_an_error():
    with pytest.raises(RuntimeError, match=r"worker process \d+ died with exit code 3"):
        list(ordered_map(die_at_five, range(9), 2))


def test_closing_early_stops_the_processes():
    results = ordered_map(slow_square, range(1000), 2)
    pids = {next(results)[1], next(results)[1]}
    results.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_processes_end_with_a_killed_parent():
    code = (
        "import sys, time, os\n"
        "from hitpool.files import ordered_map\n"
        "def f(x):\n    time.sleep(0.05)\n    return os.getpid(), bytes(100_000)\n"
        "for pid, _ in ordered_map(f, range(10_000), 2):\n    print(pid, flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pids = {int(parent.stdout.readline()) for _ in range(4)}
    assert len(pids) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    def running(pid):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] not in "ZX"
        except FileNotFoundError:
            return False

    for _ in range(300):
        if not any(map(running, pids)):
            break
        time.sleep(0.1)
    assert not any(map(running, pids))
