"""Tables of the measurements: rows of text, shown by rich or written as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import rich.table

from hitpool.bench.angles import COPY, AngleRow
from hitpool.bench.cases import Case
from hitpool.bench.measure import FLOOR, FORWARD, STEP, Row
from hitpool.bench.memory import Memory
from hitpool.bench.ways import OURS, WAYS

OVER_FLOOR = "hitpool / floor"


@dataclass(frozen=True)
class Table:
    """A table of text: the first column names the row, the others are numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_rich(self) -> rich.table.Table:
        table = rich.table.Table(title=self.title, title_justify="left", title_style="bold")
        for number, name in enumerate(self.header):
            table.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row, style="bold" if row[0] == OURS else None)
        return table

    def to_markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return f"{self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def time_tables(rows: Iterable[Row]) -> list[Table]:
    """Times in ms: a row for each way, a column for each case; a table for each mode and number of threads.

    Args:
        rows: The measurements.

    Returns:
        The tables.
    """
    rows = list(rows)
    tables = []
    for threads, mode in dict.fromkeys((row.threads, row.mode) for row in rows):
        chosen = {(row.case, row.way): row for row in rows if (row.threads, row.mode) == (threads, mode)}
        cases = list(dict.fromkeys(case for case, _ in chosen))
        body = [[way, *(_cell(chosen.get((case, way))) for case in cases)] for way in (*WAYS, FLOOR)]
        gains = [gain(chosen[case, way] for way in (*WAYS, FLOOR) if (case, way) in chosen) for case in cases]
        body.append(["gain over the fastest alternative", *(f"{value:.1f}x" if value else "-" for value, _ in gains)])
        body.append([OVER_FLOOR, *(f"{value:.1f}" if value else "-" for _, value in gains)])
        tables.append(Table(f"weighted_pool, {mode}, {_threads(threads)}, ms", ["", *map(str, cases)], body))
    return tables


def summary_table(rows: Iterable[Row]) -> Table:
    """Geometric mean and lowest of the gains over the fastest alternative of each case.

    Args:
        rows: The measurements.

    Returns:
        A row for each mode and number of threads.
    """
    rows, body = list(rows), []
    for threads, mode in dict.fromkeys((row.threads, row.mode) for row in rows):
        cases: dict[Case, list[Row]] = {}
        for row in rows:
            if (row.threads, row.mode) == (threads, mode):
                cases.setdefault(row.case, []).append(row)
        gains = {case: gain(measured) for case, measured in cases.items()}
        over = {case: value for case, (value, _) in gains.items() if value}
        floors = [value for _, value in gains.values() if value]
        if not over:
            continue
        lowest = min(over, key=over.__getitem__)
        body.append(
            [
                f"{mode}, {_threads(threads)}",
                f"{statistics.geometric_mean(over.values()):.1f}x",
                f"{over[lowest]:.1f}x at {lowest}",
                f"{max(floors):.1f}" if floors else "-",
            ]
        )
    return Table(
        "Gain of weighted_pool over the fastest alternative",
        ["", "geometric mean", "lowest", f"highest {OVER_FLOOR}"],
        body,
    )


def gain(rows: Iterable[Row]) -> tuple[float | None, float | None]:
    """Compares ours with the others in one case, mode and number of threads.

    Args:
        rows: One for each way.

    Returns:
        Time of the fastest alternative over ours, ours over the floor; None for what was not measured.
    """
    seconds = {row.way: row.seconds for row in rows if row.seconds is not None}
    ours, floor = seconds.pop(OURS), seconds.pop(FLOOR, None)
    return min(seconds.values()) / ours if seconds else None, ours / floor if floor else None


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
        if note := row.note or (f"median of {row.rounds} rounds" if few else ""):
            reasons.setdefault((row.way, note), {})[f"{row.case} {row.mode}"] = None
    everywhere = len({(row.case, row.mode) for row in rows})
    return [
        f"{way}: {note}" + ("" if len(where) == everywhere else f" at {', '.join(where)}")
        for (way, note), where in reasons.items()
    ]


def angle_table(rows: Iterable[AngleRow], angles: int) -> Table:
    """Times of pseudorapidities in ms.

    Args:
        rows: The measurements.
        angles: Number of angles.

    Returns:
        A row for each dtype, mode and number of threads.
    """
    groups: dict[tuple[str, int, str], dict[str, float]] = {}
    for row in rows:
        groups.setdefault((row.dtype, row.threads, row.mode), {})[row.way] = row.seconds
    ways = list(next(iter(groups.values()), ()))
    body = []
    for (dtype, threads, mode), seconds in groups.items():
        ours, copy = seconds[OURS], seconds[COPY]
        others = [value for way, value in seconds.items() if way not in (OURS, COPY)]
        numbers = [f"{1e3 * seconds[way]:.2f}" for way in ways]
        body.append(
            [f"{dtype}, {mode}, {_threads(threads)}", *numbers, f"{min(others) / ours:.1f}x", f"{ours / copy:.1f}"]
        )
    return Table(f"pseudorapidity of {angles:,} angles, ms", ["", *ways, "gain", f"{OURS} / {COPY}"], body)


def memory_table(memory: dict[tuple[Case, str], Memory | str]) -> Table:
    """Peak memory beyond the inputs in MiB.

    Args:
        memory: Case and way -> what was measured, or why it was not.

    Returns:
        A row for each way, and one for what has to be there: outputs, gradients.
    """
    cases = list(dict.fromkeys(case for case, _ in memory))
    columns = [(case, mode) for case in cases for mode in ((FORWARD, STEP) if case.backward else (FORWARD,))]
    body = []
    for way in dict.fromkeys(way for _, way in memory):
        cells = [way]
        for case, mode in columns:
            peak = memory.get((case, way))
            value = None if not isinstance(peak, Memory) else peak.forward if mode == FORWARD else peak.step
            cells.append("-" if value is None else f"{value / 2**20:.2f}")
        body.append(cells)
    must = ["outputs, gradients"]
    for case, mode in columns:
        ours = memory[case, OURS]
        bytes_ = ours.outputs + (ours.gradients if mode == STEP else 0)
        must.append(f"{bytes_ / 2**20:.2f}")
    return Table("Peak memory beyond the inputs, MiB", ["", *(f"{c} {m}" for c, m in columns)], [*body, must])


def _cell(row: Row | None) -> str:
    return "-" if row is None or row.seconds is None else f"{1e3 * row.seconds:.3f}"


def _threads(number: int) -> str:
    return f"{number} thread" + ("s" if number > 1 else "")
