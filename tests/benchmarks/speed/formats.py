"""Whole events through a model in every format: time per call and events per second, all ways in one run.

`python tests/benchmarks/speed/formats.py` takes about five minutes; every way is compared with the first one before.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from model import prepare
from torch import Tensor

from hitpool.export import FORMATS, DeployedModel, check_events
from hitpool.export.metadata import metadata_of
from hitpool.export.parity import TOLERANCE, expected_of

SIZES = ((60, 1), (60, 200), (600, 1), (600, 200))  # hits, events
Run = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def model_of(config: str, folder: Path, fit: bool) -> tuple[DeployedModel, list[Tensor]]:
    """An untrained model, and events for it.

    Args:
        config: Name or path of the configuration.
        folder: For simulated events.
        fit: Whether its track fit takes part, as after the second phase of a training.
    """
    objects = prepare(config, folder, 400)
    data, network = objects.datamodule, objects.model.model.eval()
    for task in network.tasks:
        if fit and getattr(task, "response", None) is not None:
            task.response.declare(trained=True)
    columns = data.dataset("train").index.hit_columns
    model = DeployedModel(network, data.inputs[network.input_name], data.scale_factors, data.points, columns)
    return model.eval().requires_grad_(False), check_events.real_events(folder / "events", columns)


def batch(events: list[Tensor], hits: int, number: int) -> tuple[Tensor, Tensor]:
    """Events of the same number of hits, of several simulated ones each.

    Args:
        events: Hits of simulated events, [M, C] each.
        hits: Number of hits M.
        number: Number of events B.

    Returns:
        hits [B, M, C] and valid [B, M].
    """
    pool = torch.cat(events)
    start = torch.arange(number) * 7919 % len(pool)
    place = (start[:, None] + torch.arange(hits)) % len(pool)
    return pool[place].contiguous(), torch.ones(number, hits, dtype=torch.bool)


def ways(model: DeployedModel, folder: Path, threads: int) -> dict[str, Run]:
    """All ways to run the model, the first as it is in Python.

    Args:
        model: The model.
        folder: For files.
        threads: Of ONNX Runtime.
    """
    example = torch.zeros(2, 12, len(model.columns)), torch.ones(2, 12, dtype=torch.bool)
    runs: dict[str, Run] = {"eager": model, "torch.compile": torch.compile(model, dynamic=True)}
    script = FORMATS["torchscript"].load_module().build(model, example)
    runs |= {"TorchScript": script, "TorchScript, frozen": torch.jit.freeze(script)}
    for name, format in (("AOTInductor", "aoti"), ("ONNX Runtime", "onnx")):
        kind = FORMATS[format].load_module()
        path = folder / f"model{FORMATS[format].suffix}"
        kind.write(kind.build(model, example), metadata_of(model, format, {}, {}), path)
        runs[name] = kind.load(path, threads)[0]
    return runs


def check(runs: dict[str, Run], model: DeployedModel, inputs: tuple[Tensor, Tensor]) -> None:
    """Compares all ways with the model, but for events that rounding alone changes.

    Raises:
        RuntimeError: If one differs.
    """
    (case,) = expected_of(model, [inputs])
    for name, run in runs.items():
        for difference in case.differences(run(*inputs)):
            worst = difference[~case.exempt]
            if (worst > TOLERANCE).any():
                raise RuntimeError(f"{name} differs by {worst.max():g}")


def times(runs: dict[str, Run], inputs: tuple[Tensor, Tensor], seconds: float) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile of the time of a call (s), the ways in turns.

    Args:
        runs: The ways.
        inputs: hits [B, M, C] and valid [B, M].
        seconds: Time for each way.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(5):
            run(*inputs)
    end = time.perf_counter() + seconds * len(runs)
    while time.perf_counter() < end or len(found["eager"]) < 5:
        for name, run in runs.items():
            start = time.perf_counter()
            while True:  # several calls in a row, as in a farm
                begin = time.perf_counter()
                run(*inputs)
                now = time.perf_counter()
                found[name].append(now - begin)
                if now - start > 0.05:
                    break
    return {name: (float(np.median(own)), float(np.percentile(own, 99))) for name, own in found.items()}


def main(arguments: list[str] | None = None) -> None:
    """Prints a table for each number of threads, with and without the track fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="muon.yaml", help="name or path of the configuration")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each way and size")
    parser.add_argument("--fit", choices=("with", "without", "both"), default="both")
    options = parser.parse_args(arguments)
    torch.set_num_interop_threads(1)
    print(
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {torch.backends.cpu.get_cpu_capability()}"
    )
    for fit in {"with": [True], "without": [False], "both": [False, True]}[options.fit]:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            model, events = model_of(options.config, Path(folder), fit)
            for threads in options.threads:
                torch.set_num_threads(threads)
                runs = ways(model, Path(folder), threads)
                check(runs, model, batch(events, 60, 20))
                table(runs, events, f"{threads} threads, {'with' if fit else 'without'} the fit", options.seconds)


def table(runs: dict[str, Run], events: list[Tensor], title: str, seconds: float) -> None:
    """Measures and prints one table."""
    cells = {(hits, number): times(runs, batch(events, hits, number), seconds) for hits, number in SIZES}
    names = [f"{number} x {hits} hits" for hits, number in SIZES]
    print(f"\n{title}: ms per call, median / 99th percentile, and events/s\n")
    print("| way | " + " | ".join(names) + " |\n| --- |" + " --- |" * len(names))
    for name in runs:
        row = []
        for hits, number in SIZES:
            median, late = cells[hits, number][name]
            row.append(f"{1e3 * median:.3g} / {1e3 * late:.3g} ({number / median:.0f})")
        print(f"| {name} | " + " | ".join(row) + " |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
