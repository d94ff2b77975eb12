"""Speed of `hitpool fit` on CPU where it has not the machine alone, with one thread, all cores, and its own choice.

    python tests/benchmarks/busy_neighbour.py --epochs 6 --rounds 3

The trainings take turns. The speed of one is that of all its epochs, those included in which it chooses. A quota needs
the right to make a control group.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hitpool.cores import CGROUPS, available_cores
from hitpool.simulation import simulate

QUOTA = 0.75  # of the cores


@dataclass
class Case:
    """What the trainings meet."""

    label: str
    neighbours: int = 0
    trainings: int = 1
    quota: bool = False
    one_core: bool = False


CASES = {
    "idle": Case("nothing else"),
    "neighbour": Case("1 busy process", neighbours=1),
    "neighbours": Case("2 busy processes", neighbours=2),
    "trainings": Case("two trainings (each)", trainings=2),
    "quota": Case(f"a quota of {QUOTA * available_cores():g} cores", quota=True),
    "core": Case("one core (taskset)", one_core=True),
}


def speed(folder: Path, events: Path, epochs: int, options: list[str], trainings: int, enter: Callable) -> float:
    """Events per second of a training, or of each of several at once."""
    data = [f"--data.{part}_dir={events}" for part in ("train", "val", "test")]
    data += ["--data.num_val=100", "--data.num_test=100", f"--trainer.max_epochs={epochs}"]
    command = [sys.executable, "-m", "hitpool.cli", "fit", *data, *options]
    free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    given = {"cwd": folder, "env": free, "stdout": subprocess.PIPE, "text": True, "preexec_fn": enter}
    processes = [subprocess.Popen([*command, f"--runs=runs{number}"], **given) for number in range(trainings)]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"hitpool fit failed:\n{''.join(outputs)}")
    speeds = [statistics.harmonic_mean(map(float, re.findall(r"(\d+) events/s", output))) for output in outputs]
    return statistics.mean(speeds)


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Processes that compute all the time."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def limited(cores: float | None) -> Iterator[Path | None]:
    """A control group with a quota, version 1 or 2; None for none.

    Raises:
        OSError: If it may not be made.
    """
    if cores is None:
        yield None
        return
    first = (CGROUPS / "cpu").is_dir()
    group = (CGROUPS / "cpu" if first else CGROUPS) / f"hitpool_{os.getpid()}"
    group.mkdir()
    try:
        if first:
            (group / "cpu.cfs_quota_us").write_text(f"{int(cores * 100_000)}")
        else:
            (group / "cpu.max").write_text(f"{int(cores * 100_000)} 100000")
        yield group
    finally:
        group.rmdir()


def measure(case: Case, ways: dict[str, list[str]], rounds: int, run: Callable) -> list[dict[str, float]]:
    """Speeds by way, for each round."""
    cores = sorted(os.sched_getaffinity(0))
    with limited(QUOTA * available_cores() if case.quota else None) as group, busy(case.neighbours):

        def enter() -> None:
            if group:
                (group / "cgroup.procs").write_text(str(os.getpid()))
            if case.one_core:
                os.sched_setaffinity(0, cores[:1])

        return [{name: run(options, case.trainings, enter) for name, options in ways.items()} for _ in range(rounds)]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="what the trainings meet")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of a training")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each training")
    parser.add_argument("--events", type=int, default=4000, help="events of an epoch")
    arguments = parser.parse_args()
    ways = {
        "one thread": ["--threads=1"],
        f"{available_cores()} threads": [f"--threads={available_cores()}"],
        "chosen": [],
    }
    print(f"| beside | {' | '.join(ways)} | chosen / one thread |\n|---|{'---|' * len(ways)}---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder, events = Path(temporary), Path(temporary) / "events"
        simulate(events, arguments.events)

        def run(options: list[str], trainings: int, enter: Callable) -> float:
            return speed(folder, events, arguments.epochs, options, trainings, enter)

        for case in (CASES[name] for name in arguments.cases):
            try:
                rounds = measure(case, ways, arguments.rounds, run)
            except OSError as error:
                print(f"{case.label}: skipped, {error}", file=sys.stderr)
                continue
            medians = [statistics.median(result[name] for result in rounds) for name in ways]
            ratio = statistics.median(result["chosen"] / result["one thread"] for result in rounds)
            print(f"| {case.label} | {' | '.join(f'{value:.0f}' for value in medians)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
