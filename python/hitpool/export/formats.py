"""The formats of exported models, by name, by the suffix of a file and by its content."""

from __future__ import annotations

import importlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from hitpool.export.arrays import Run
from hitpool.export.metadata import NAME

FormatName = Literal["torchscript", "export", "aoti", "onnx"]


@dataclass(frozen=True)
class Format:
    """A format: a module with the functions `build`, `write` and `load`.

    Args:
        module: Name of the module.
        suffix: Of its files.
        advice: What it is for.
    """

    module: str
    suffix: str
    advice: str

    def load_module(self) -> ModuleType:
        """Imports the module, which may need packages that are not installed."""
        return importlib.import_module(self.module)


FORMATS: dict[FormatName, Format] = {
    "aoti": Format(
        "hitpool.export.aoti", ".pt2", "the fastest, for C++ and Python with libtorch on processors with AVX2"
    ),
    "onnx": Format("hitpool.export.onnx", ".onnx", "for ONNX Runtime and Athena, without torch and without hitpool"),
    "torchscript": Format(
        "hitpool.export.torchscript", ".pt", "for programs that read TorchScript, which torch has deprecated"
    ),
    "export": Format("hitpool.export.program", ".pt2", "for Python, and for tools that compile it for other machines"),
}


def format_for(output: Path, format: FormatName | None) -> FormatName:
    """Format in which a file is written.

    Args:
        output: The file.
        format: What is asked for; None for what the suffix says.

    Raises:
        ValueError: If the suffix is another one; says which there are.
    """
    fitting: list[FormatName] = [name for name, known in FORMATS.items() if known.suffix == output.suffix]
    if format is None and fitting:
        return fitting[0]
    if format is None or format not in fitting:
        suffixes: dict[str, list[str]] = {known.suffix: [] for known in FORMATS.values()}
        for name, own in FORMATS.items():
            suffixes[own.suffix].append(name)
        known = ", ".join(f"{suffix} ({' or '.join(names)})" for suffix, names in suffixes.items())
        wanted = f"{FORMATS[format].suffix} of format {format}" if format else f"one of {known}"
        raise ValueError(f"--output {output}: expected the suffix {wanted}, got {output.suffix!r}")
    return format


def format_of(path: Path) -> FormatName | None:
    """Format of an exported model, None of any other file.

    Args:
        path: The file.
    """
    if path.suffix == ".onnx":
        return "onnx"
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any("/data/aotinductor/" in name for name in names):
        return "aoti"
    if not any(name.endswith(f"/extra/{NAME}") for name in names):
        return None
    return "torchscript" if any("/code/" in name for name in names) else "export"


def load(path: Path, threads: int = 1) -> tuple[Run, dict[str, Any]]:
    """Opens an exported model of any format.

    Args:
        path: The file.
        threads: Threads that will call it at the same time.

    Returns:
        Takes hits [B, M, C] and valid [B, M] and gives parameters [B, N, K], track probability [B, N] and hit
        probability [B, N, M]; and the metadata.

    Raises:
        ValueError: If it is no exported model.
    """
    if (found := format_of(path)) is None:
        raise ValueError(f"{path} is no exported model; expected what `hitpool export` writes")
    run, metadata = FORMATS[found].load_module().load(path, threads)
    return run, metadata
