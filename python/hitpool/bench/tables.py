"""Tables of the measurements: rows of text, shown by rich or written as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import rich.table

from hitpool.bench.angles import COPY, AngleRow
from hitpool.bench.cases import Case
from hitpool.bench.measure import FLOOR, FLOOR_BY_TRACK, FORWARD, STEP, Row
from hitpool.bench.memory import Memory
from hitpool.bench.ways import OURS, WAYS

GAIN = "gain over fastest"
FLOORS = (FLOOR, FLOOR_BY_TRACK)


@dataclass(frozen=True)
class Table:
    """A table of text: the first column names the row, the others are numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_rich(self) -> rich.table.Table:
        table = rich.table.Table(title=self.title, title_justify="left", title_style="bold")
        for number, name in enumerate(self.header):
            table.add_column(name, justify="right" if number else "left", no_wrap=not number)
        for row in self.rows:
            table.add_row(*row, style="bold" if row[0] == OURS else None)
        return table

    def to_markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return f"{self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def time_tables(rows: Iterable[Row]) -> list[Table]:
    """Times in ms: a row for each way, a column for each shape.

    Args:
        rows: The measurements.

    Returns:
        A table for each number of threads, mode, dtype and share of selected hits.
    """
    groups: dict[str, dict[Case, dict[str, Row]]] = {}
    for row in rows:
        title = f"weighted_pool, {row.mode}, {place(row.case.device, row.threads)}, {row.case.kind}, ms"
        groups.setdefault(title, {}).setdefault(row.case, {})[row.way] = row
    tables = []
    for title, cases in groups.items():
        floors = [floor for floor in FLOORS if any(floor in measured for measured in cases.values())]
        body = [[way, *(_time(measured.get(way)) for measured in cases.values())] for way in (*WAYS, *floors)]
        body.append([GAIN, *(_ratio(gain(measured.values())) for measured in cases.values())])
        for floor in floors:
            body.append([f"{OURS} / {floor}", *(_ratio(_over(floor, measured)) for measured in cases.values())])
        tables.append(Table(title, ["B, N, M, D", *(str(case.shape) for case in cases)], body))
    return tables


def summary_table(rows: Iterable[Row]) -> Table:
    """Gains over the fastest alternative of each case: geometric mean and lowest.

    Args:
        rows: The measurements.

    Returns:
        A row for each number of threads, mode and dtype.
    """
    groups: dict[str, dict[Case, list[Row]]] = {}
    for row in rows:
        title = f"{row.mode}, {place(row.case.device, row.threads)}, {row.case.dtype}"
        groups.setdefault(title, {}).setdefault(row.case, []).append(row)
    body = []
    for title, cases in groups.items():
        ratios = [(gain(measured), case) for case, measured in cases.items()]
        ratios = [(ratio, case) for ratio, case in ratios if ratio is not None]
        if ratios:
            lowest, case = min(ratios, key=lambda pair: pair[0])
            mean = statistics.geometric_mean(ratio for ratio, _ in ratios)
            body.append([title, _ratio(mean), _ratio(lowest), f"{case.shape} {100 * case.selected:.3g} %"])
    title = f"weighted_pool, {GAIN}: time of the fastest alternative / time of hitpool, all shapes and shares"
    return Table(title, ["", "geometric mean", "lowest", "at"], body)


def place(device: str, threads: int) -> str:
    """Where a time was measured, in words.

    Args:
        device: `cpu` or `cuda`.
        threads: Threads that torch used.

    Returns:
        `2 threads` or `GPU`.
    """
    return "GPU" if device == "cuda" else f"{threads} thread{'s' * (threads > 1)}"


def gain(rows: Iterable[Row]) -> float | None:
    """Compares ours with the alternatives in one case, mode and number of threads.

    Args:
        rows: One for each way.

    Returns:
        Time of the fastest alternative over ours; None without an alternative.
    """
    seconds = {row.way: row.seconds for row in rows if row.seconds is not None}
    ours = seconds.pop(OURS)
    others = [time for way, time in seconds.items() if way not in FLOORS]
    return min(others) / ours if others else None


def notes(rows: Iterable[Row], repeat: int) -> list[str]:
    """Why ways were not timed, or in fewer rounds than asked for.

    Args:
        rows: The measurements.
        repeat: Rounds asked for.

    Returns:
        `way: reason at cases`, each once.
    """
    rows, reasons = list(rows), {}
    for row in rows:
        few = row.way in WAYS and row.rounds < repeat
        if note := row.note or ((f"median of {row.rounds} rounds" if row.rounds > 1 else "one round") if few else ""):
            reasons.setdefault((row.way, note), {})[f"{row.case} {row.mode}"] = None
    everywhere = len({(row.case, row.mode) for row in rows})
    return [
        f"{way}: {note}" + ("" if len(where) == everywhere else f" at {', '.join(where)}")
        for (way, note), where in reasons.items()
    ]


def angle_tables(rows: Iterable[AngleRow], angles: int) -> list[Table]:
    """Times of pseudorapidities in ms.

    Args:
        rows: The measurements.
        angles: Number of angles.

    Returns:
        A table for each number of threads, with a row for each way.
    """
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        groups.setdefault(place(row.device, row.threads), {}).setdefault(f"{row.dtype} {row.mode}", {})[row.way] = (
            row.seconds
        )
    tables = []
    for where, columns in groups.items():
        ways = list(next(iter(columns.values())))
        body = [[way, *(f"{1e3 * seconds[way]:.2f}" for seconds in columns.values())] for way in ways]
        fastest = [
            min(time for way, time in seconds.items() if way not in (OURS, COPY)) for seconds in columns.values()
        ]
        pairs = list(zip(fastest, columns.values(), strict=True))
        body.append([GAIN, *(_ratio(best / seconds[OURS]) for best, seconds in pairs)])
        body.append([f"{OURS} / {COPY}", *(_ratio(seconds[OURS] / seconds[COPY]) for seconds in columns.values())])
        title = f"pseudorapidity of {angles:,} angles, {where}, ms"
        tables.append(Table(title, ["", *columns], body))
    return tables


def memory_tables(memory: dict[tuple[Case, str], Memory | str]) -> list[Table]:
    """Peak memory beyond the inputs in MiB, of each case.

    Args:
        memory: Case and way -> what was measured, or why it was not.

    Returns:
        Tables with a row for each way, and one for what has to be there: outputs, and gradients in the backward.
    """
    tables = []
    for case in dict.fromkeys(case for case, _ in memory):
        measured = {way: peak for (of, way), peak in memory.items() if of == case and isinstance(peak, Memory)}
        body = [
            [way, *map(_mebibytes, (peak.forward, peak.backward, peak.step)), str(peak.allocations)]
            for way, peak in measured.items()
        ]
        if OURS in measured:
            ours = measured[OURS]
            both = ours.outputs + ours.gradients if case.backward else None
            backward = ours.gradients if case.backward else None
            body.append(["outputs, gradients", *map(_mebibytes, (ours.outputs, backward, both)), ""])
        header = ["", FORWARD, "backward", STEP, "tensors allocated in the forward"]
        tables.append(Table(f"weighted_pool, peak memory beyond the inputs, {case}, MiB", header, body))
    return tables


def _over(floor: str, measured: dict[str, Row]) -> float | None:
    row = measured.get(floor)
    return None if row is None or row.seconds is None else measured[OURS].seconds / row.seconds


def _mebibytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 2**20:.2f}"


def _time(row: Row | None) -> str:
    return "-" if row is None or row.seconds is None else f"{1e3 * row.seconds:.3f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
