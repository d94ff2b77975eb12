"""What a run measured: shown in the terminal, written as JSON and as Markdown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from hitpool.bench import tables
from hitpool.bench.angles import AngleRow
from hitpool.bench.cases import Case
from hitpool.bench.machine import line
from hitpool.bench.measure import Row
from hitpool.bench.memory import Memory
from hitpool.files import write_text


@dataclass
class Report:
    """Everything that was measured in a run, in the order of measurement."""

    machine: dict[str, str] = field(default_factory=dict)
    repeat: int = 0
    rows: list[Row] = field(default_factory=list)
    angles: int = 0
    angle_rows: list[AngleRow] = field(default_factory=list)
    memory: dict[tuple[Case, str], Memory | str] = field(default_factory=dict)
    overhead: dict[str, float] = field(default_factory=dict)

    def tables(self) -> list[tables.Table]:
        """Tables of what there is.

        Returns:
            Times, gains, memory, pseudorapidity.
        """
        result = []
        if self.rows:
            result += [*tables.time_tables(self.rows), tables.summary_table(self.rows)]
        result += tables.memory_tables(self.memory)
        return [*result, *tables.angle_tables(self.angle_rows, self.angles)]

    def remarks(self) -> list[str]:
        """Sentences below the tables.

        Returns:
            The cost of a call, why some numbers are missing, the machine.
        """
        remarks = []
        if self.overhead:
            micro = {name: f"{1e6 * seconds:.1f} us" for name, seconds in self.overhead.items()}
            remarks.append(
                f"A call on the smallest shape (1, 2, 600, 32), 1 thread, forward: {micro['call']}, of which dispatch "
                f"{micro['dispatch']} (the same call without hits; sigmoid of one number: {micro['torch']}); forward + "
                f"backward: {micro['step']} (sigmoid of one number: {micro['torch step']})."
            )
        remarks += tables.notes(self.rows, self.repeat)
        remarks += [
            f"memory of {way} at {case.shape}: {note}"
            for (case, way), note in self.memory.items()
            if isinstance(note, str)
        ]
        return [*remarks, f"Medians of {self.repeat} rounds. {line(self.machine)}"]

    def print(self, console: Console) -> None:
        """Shows tables and remarks.

        Args:
            console: Where.
        """
        for table in self.tables():
            console.print(table.to_rich())
        for remark in self.remarks():
            console.print(remark, highlight=False, markup=False, soft_wrap=True)

    def to_markdown(self) -> str:
        """Tables and remarks.

        Returns:
            Markdown.
        """
        return "\n\n".join([*(table.to_markdown() for table in self.tables()), *self.remarks()]) + "\n"

    def write_json(self, path: Path) -> None:
        """Writes every number, in seconds and bytes.

        Args:
            path: File to write.
        """
        content = {
            "machine": self.machine,
            "repeat": self.repeat,
            "weighted_pool": [row.as_dict() for row in self.rows],
            "pseudorapidity": {"angles": self.angles, "rows": [row.as_dict() for row in self.angle_rows]},
            "memory": [
                {"case": case.as_dict(), "way": way} | ({"note": value} if isinstance(value, str) else value.as_dict())
                for (case, way), value in self.memory.items()
            ],
            "overhead": self.overhead,
        }
        write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> Report:
    """Reads what `Report.write_json` wrote.

    Args:
        path: The file.

    Returns:
        The same report.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    report = Report(content["machine"], content["repeat"], overhead=content["overhead"])
    report.rows = [Row(**{**row, "case": Case(**row["case"])}) for row in content["weighted_pool"]]
    report.angles = content["pseudorapidity"]["angles"]
    report.angle_rows = [AngleRow(**row) for row in content["pseudorapidity"]["rows"]]
    for entry in content["memory"]:
        case, way = Case(**entry.pop("case")), entry.pop("way")
        report.memory[case, way] = entry["note"] if "note" in entry else Memory(**entry)
    return report
