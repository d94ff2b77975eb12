"""The command `hitpool bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hitpool.bench import memory, ways
from hitpool.bench.angles import DTYPES, time_angles
from hitpool.bench.cases import MAIN, SHAPES, Case, make_cases
from hitpool.bench.floor import cuda_bandwidth
from hitpool.bench.machine import describe
from hitpool.bench.measure import refusal, time_case
from hitpool.bench.overhead import call_overhead
from hitpool.bench.plot import plot_times
from hitpool.bench.process import value_of, values_of
from hitpool.bench.report import Report
from hitpool.bench.tables import place
from hitpool.cores import available_cores
from hitpool.evaluation.plots import save
from hitpool.files import check_writable, write_text

DESCRIPTION = """\
Times hitpool.weighted_pool and hitpool.pseudorapidity against everything that could be used instead, on this machine.

Every way is compared with the reference before it is timed. For each shape, all of them take turns in one process. The
floor is the time to read what must be read and write what must be written once; by track: where every track reads the
rows it selects.
"""


def bench(
    shapes: list[str],
    selected: list[float],
    dtype: list[str],
    threads: list[int] | None = None,
    device: str = "cpu",
    repeat: int = 30,
    angles: int = 10_000_000,
    memory_of: list[str] | None = None,
    console: Console | None = None,
    report: Report | None = None,
) -> Report:
    """Measures ops and alternatives.

    Args:
        shapes: Names of shapes, `main`, `all`, or sizes `B,N,M,D`.
        selected: Shares of selected hits.
        dtype: Names of dtypes.
        threads: Numbers of threads; None: 1 and the number of cores, on a GPU only 1.
        device: `cpu` or `cuda`.
        repeat: Rounds that count.
        angles: Angles for pseudorapidity; 0: it is not measured.
        memory_of: Shapes of which memory is measured, with the first share, dtype and number of threads; None: the
            first of `shapes`.
        console: For the progress bar; the terminal if None.
        report: Takes each measurement as soon as it is made; a new one if None.

    Returns:
        All measurements.

    Raises:
        ValueError: an option that cannot be measured here.
        RuntimeError: a process that measured ended early; what it said is on the standard error.
    """
    threads = threads or ([1] if device == "cuda" else _all_threads())
    _check(threads, repeat, angles, device)
    cases = make_cases(shapes, selected, dtype, device)
    remembered = cases[:1] if memory_of is None else make_cases(memory_of, selected[:1], dtype[:1], device)
    report = report or Report()
    report.machine, report.repeat, report.angles = describe(device), repeat, angles
    total = len(cases) + len(remembered) * len(ways.WAYS) + bool(angles) * len(DTYPES) * len(threads)
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=total)

        def measure(name: str, function: Callable, *arguments: object) -> Iterator:
            """In a process of its own, and part of the bar."""
            yield from values_of(
                name, function, *arguments, on_step=lambda text: progress.update(bar, description=f"{name}: {text}")
            )
            progress.advance(bar)

        bandwidth = value_of("bandwidth", cuda_bandwidth) if device == "cuda" else None
        report.overhead = value_of("a call", call_overhead, repeat) if device == "cpu" else {}
        for case in cases:
            report.rows += measure(str(case), time_case, case, tuple(ways.WAYS), threads, repeat, bandwidth)
        for case in remembered:
            for way in ways.WAYS:
                progress.update(bar, description=f"{case}: memory of {way}")
                report.memory[case, way] = _memory(way, case, threads[0])
                progress.advance(bar)
        for name in DTYPES if angles else ():
            for number in threads:
                title = f"pseudorapidity, {name}, {place(device, number)}"
                report.angle_rows += measure(title, time_angles, angles, name, number, repeat, device)
    return report


def run(options: list[str]) -> None:
    """Runs `hitpool bench`.

    Args:
        options: Arguments after `bench`.
    """
    arguments = _parser().parse_args(options)
    if arguments.model:
        from hitpool.bench.model import bench_model

        bench_model(arguments.threads or _all_threads(), Path(arguments.json) if arguments.json else None)
        return
    report = Report()
    try:
        for name, ending in (("json", ".json"), ("markdown", ".md"), ("plot", ".png")):
            file = getattr(arguments, name)
            if file is not None and Path(file).suffix != ending:
                raise ValueError(f"--{name} {file}: expected a file ending in {ending}")
            if file is not None:
                check_writable(Path(file).parent)
        bench(
            arguments.shapes,
            arguments.selected,
            arguments.dtype,
            arguments.threads,
            arguments.device,
            arguments.repeat,
            arguments.angles,
            arguments.memory,
            report=report,
        )
    finally:  # after Ctrl-C too
        if report.rows or report.angle_rows:
            _show(report, arguments.json, arguments.markdown, arguments.plot)


def _show(report: Report, json: str | None, markdown: str | None, plot: str | None) -> None:
    report.print(Console())
    if json:
        report.write_json(Path(json))
    if markdown:
        write_text(markdown, report.to_markdown())
    if plot:
        save(plot_times(report.rows), Path(plot))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="hitpool bench", description=DESCRIPTION, exit_on_error=False)
    add = parser.add_argument
    add("--device", choices=["cpu", "cuda"], default="cpu", help="Where to measure.")
    add(
        "--shapes",
        nargs="+",
        default=["main"],
        metavar="SHAPE",
        help=f"{_named(MAIN)}, main (these), {_named([name for name in SHAPES if name not in MAIN])}, "
        "all, or sizes B,N,M,D. The last one of the names has 0.05 % of its hits selected and no backward.",
    )
    add("--selected", nargs="+", type=float, default=[0.2], metavar="SHARE", help="Share of hits in a track.")
    add(
        "--dtype",
        nargs="+",
        default=["float32"],
        metavar="DTYPE",
        help="float32, float64, bfloat16, float16; the names training and wide are measured in all of them, others in "
        "the first.",
    )
    add(
        "--threads",
        nargs="+",
        type=int,
        metavar="NUMBER",
        help="Numbers of threads, each measured; 1 and the number of cores if not given.",
    )
    add("--repeat", type=int, default=30, help="Rounds; the results are medians.")
    add("--angles", type=int, default=10_000_000, help="Angles for pseudorapidity; 0: leave it out.")
    add(
        "--memory",
        nargs="*",
        metavar="SHAPE",
        help="Shapes of which memory is measured, in a process for each way; the first of --shapes if not given.",
    )
    add("--json", metavar="FILE.json", help="Write all numbers, in seconds and bytes.")
    add("--markdown", metavar="FILE.md", help="Write the tables.")
    add("--plot", metavar="FILE.png", help="Draw the times.")
    add("--model", action="store_true", help="Measure training, inference and loading of the model instead.")
    return parser


def _all_threads() -> list[int]:
    return sorted({1, available_cores()})


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {','.join(map(str, SHAPES[name]))}" for name in names)


def _check(threads: list[int], repeat: int, angles: int, device: str) -> None:
    for name, values, least in (("threads", threads, 1), ("repeat", [repeat], 1), ("angles", [angles], 0)):
        for value in values:
            if value < least:
                raise ValueError(f"--{name} {value}: expected at least {least}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no GPU")


def _memory(way: str, case: Case, threads: int) -> memory.Memory | str:
    note = refusal(way, case, case.backward)
    if note is not None:
        return note
    try:
        return memory.measure(way, case, threads)
    except RuntimeError as error:
        return str(error)
