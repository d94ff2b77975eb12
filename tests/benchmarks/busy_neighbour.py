"""Speed of `hitpool fit` on CPU, idle and beside busy processes, with one thread, all cores, and the number it chooses.

    python tests/benchmarks/busy_neighbour.py --neighbours 0 1 2 --epochs 6 --rounds 3

The trainings take turns. The speed of one is the median over its epochs without the first, in which it chooses.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hitpool.cores import available_cores
from hitpool.simulation import simulate


def speed(folder: Path, events: Path, epochs: int, options: list[str]) -> float:
    """Events per second of a training."""
    data = [f"--data.{part}_dir={events}" for part in ("train", "val", "test")]
    data += ["--data.num_val=100", "--data.num_test=100", f"--trainer.max_epochs={epochs}", "--runs=runs"]
    command = [sys.executable, "-m", "hitpool.cli", "fit", *data, *options]
    output = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    return statistics.median([float(value) for value in re.findall(r"(\d+) events/s", output)][1:])


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


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1], help="numbers of busy processes")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of a training")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each training")
    parser.add_argument("--events", type=int, default=4000, help="events of an epoch")
    arguments = parser.parse_args()
    ways = {
        "one thread": ["--threads=1"],
        f"{available_cores()} threads": [f"--threads={available_cores()}"],
        "chosen": [],
    }
    print(f"| busy processes | {' | '.join(ways)} | chosen / one thread |\n|---|{'---|' * len(ways)}---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder, events = Path(temporary), Path(temporary) / "events"
        simulate(events, arguments.events)
        for number in arguments.neighbours:
            with busy(number):
                rounds = [
                    {name: speed(folder, events, arguments.epochs, options) for name, options in ways.items()}
                    for _ in range(arguments.rounds)
                ]
            medians = [statistics.median(result[name] for result in rounds) for name in ways]
            ratio = statistics.median(result["chosen"] / result["one thread"] for result in rounds)
            print(f"| {number} | {' | '.join(f'{value:.0f}' for value in medians)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
