"""The emulator behind a library of translated kernels, through ctypes."""

import ctypes
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ORDERS = ("ascending", "descending", "random", "priorities")


@dataclass(frozen=True)
class Schedule:
    """What a kernel must not depend on.

    Args:
        order: Which thread runs next; one of `ORDERS`.
        preempt_one_in: Memory accesses, of which one gives way to other threads; 0: none.
        garbage: Byte that shared memory holds at first; negative: random ones.
        max_grid: Blocks at most, so that each takes several pieces of work; 0: as many as the kernel asks for.
        seed: Of all that is random.
    """

    order: str = "ascending"
    preempt_one_in: int = 0
    garbage: int = 0xFF
    max_grid: int = 0
    seed: int = 0


class Requests(NamedTuple):
    """What the warps asked of global memory at one place in the code."""

    place: tuple[str, ...]  # file:line, the innermost of inlined functions first
    write: bool
    requests: int
    lanes: int
    sectors: int  # of 32 bytes
    bytes: int  # that the lanes asked for


class Counters(NamedTuple):
    launches: int
    blocks: int
    switches: int
    accesses: int


class Emulation:
    """A library of kernels; `self.library` has its functions."""

    def __init__(self, path: Path):
        self.path = path
        self.library = ctypes.CDLL(str(path))
        for name in ("emulation_reports", "emulation_traffic"):
            getattr(self.library, name).restype = ctypes.c_int64

    def set_schedule(self, schedule: Schedule) -> None:
        self.library.emulation_schedule(
            ctypes.c_uint64(schedule.seed),
            ORDERS.index(schedule.order),
            schedule.preempt_one_in,
            schedule.garbage,
            ctypes.c_uint(schedule.max_grid),
        )

    def clear_regions(self) -> None:
        self.library.emulation_clear_regions()

    def add_region(self, address: int, size: int, writable: bool, name: str) -> None:
        self.library.emulation_region(ctypes.c_void_p(address), ctypes.c_int64(size), writable, name.encode())

    def report_unwritten(self) -> None:
        self.library.emulation_report_unwritten()

    def reports(self) -> list[str]:
        """What was found since the last call, with file and line."""
        lines = self._text(self.library.emulation_reports).splitlines()
        places = self._places([code for line in lines for code in re.findall(r"pc=(0x[0-9a-f]+)", line)])
        return [re.sub(r"pc=(0x[0-9a-f]+)", lambda code: "at " + places[code[1]][0], line) for line in lines]

    def start_traffic(self) -> None:
        self.library.emulation_start_traffic()

    def traffic(self) -> list[Requests]:
        """Of everything since `start_traffic`."""
        rows = [line.split() for line in self._text(self.library.emulation_traffic).splitlines()]
        places = self._places([row[0].removeprefix("pc=") for row in rows])
        return [
            Requests(places[code.removeprefix("pc=")], kind == "write", *map(int, numbers))
            for code, kind, *numbers in rows
        ]

    def counters(self) -> Counters:
        numbers = (ctypes.c_uint64 * 4)()
        self.library.emulation_counters(numbers)
        return Counters(*numbers)

    @staticmethod
    def _text(function) -> str:
        room = 1 << 20
        text = ctypes.create_string_buffer(room)
        length = function(text, ctypes.c_int64(room))
        assert length < room
        return text.value.decode()

    def _places(self, codes: list[str]) -> dict[str, tuple[str, ...]]:
        """File and line of each address, that of the function it is inlined into after it."""
        codes = sorted(set(codes))
        if not codes:
            return {}
        before = [hex(int(code, 16) - 1) for code in codes]  # a return address points behind the call
        command = ["addr2line", "--inlines", "--addresses", "--exe", str(self.path), *before]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        groups = re.split(r"^0x[0-9a-f]+\n", text, flags=re.MULTILINE)[1:]
        names = [tuple(line.split(" ")[0].rsplit("/", 1)[-1] for line in group.splitlines()) for group in groups]
        return dict(zip(codes, names, strict=True))
