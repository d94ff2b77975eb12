"""What is wrong or remarkable in a data set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"  # training stops, whatever the configuration
    DEFECT = "defect"  # training stops if the column is used, or learns something wrong
    REMARK = "remark"  # worth knowing


@dataclass
class Finding:
    """One kind of finding.

    Attributes:
        severity: How bad it is.
        kind: What it is.
        number: How often it was found.
        example: The first one.
    """

    severity: Severity
    kind: str
    number: int
    example: str


class Findings(dict[str, Finding]):
    """Findings by kind."""

    def note(self, severity: Severity, kind: str, number: int, example: str) -> None:
        """Counts `number` more of a kind; the first example is kept."""
        if number:
            self.setdefault(kind, Finding(severity, kind, 0, example)).number += int(number)

    def sorted(self) -> list[Finding]:
        """Worst first."""
        order = list(Severity)
        return sorted(self.values(), key=lambda finding: order.index(finding.severity))

    @property
    def readable(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity is not Severity.ERROR for finding in self.values())
