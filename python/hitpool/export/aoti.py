"""Deployed models as packages of AOTInductor: compiled, for C++ and Python on processors of a stated kind."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch._inductor.config
from torch import Tensor
from torch._inductor.package import load_package, package_aoti

from hitpool.export.arrays import Run, checked
from hitpool.export.deployed import DeployedModel
from hitpool.export.metadata import NAME
from hitpool.export.recorded import record

INSTRUCTION_SET = "AVX2"
OPTIONS = {
    "aot_inductor.package": True,
    "aot_inductor.metadata": {NAME: ""},  # comes when the model has been checked
    "cpp.march": "x86-64-v3",
    "cpp.simdlen": 256,
    "cpp.threads": 1,  # it computes in the thread that calls it, but for the ops, which follow torch's number
}
METADATA_FILE = "_metadata.json"


def require() -> None:
    """Checks that a model can be compiled here.

    Raises:
        RuntimeError: There is no C++ compiler, the processor is an older one, or torch is.
    """
    if not hasattr(torch._inductor.config.cpp, "march"):
        raise RuntimeError(
            f"export: format aoti compiles for a stated kind of processor, which torch {torch.__version__} cannot"
        )
    if not shutil.which("g++"):
        raise RuntimeError("export: format aoti compiles the model with g++, which is not installed")
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        raise RuntimeError(
            f"export: format aoti compiles for {INSTRUCTION_SET} and runs the result to check it; this processor has "
            f"{torch.backends.cpu.get_cpu_capability()}"
        )


def build(model: DeployedModel, example: tuple[Tensor, Tensor]) -> list[Any]:
    """Compiles a model, which takes about a minute.

    Args:
        model: The model.
        example: hits [B, M, C] and valid [B, M].

    Returns:
        The files that AOTInductor wrote.
    """
    program = record(model, example).module(check_guards=False)
    with torch.no_grad():
        files = torch._inductor.aot_compile(program, example, options=dict(OPTIONS))  # type: ignore[arg-type]
    assert isinstance(files, list)
    return files


def write(built: list[Any], metadata: dict[str, Any], path: Path) -> None:
    """Writes what `build` gave, with the metadata as entry `hitpool.json` of those of the package.

    Args:
        built: The files.
        metadata: What is said of the model.
        path: File to write, `*.pt2`.
    """
    text = json.dumps(metadata | {"instruction_set": INSTRUCTION_SET}, indent=2)
    with TemporaryDirectory() as folder:
        files = list(built)
        for number, file in enumerate(built):
            if str(file).endswith(METADATA_FILE):
                told = json.loads(Path(file).read_text(encoding="utf-8"))
                files[number] = str(Path(folder, Path(file).name))
                Path(files[number]).write_text(json.dumps(told | {NAME: text}), encoding="utf-8")
        package_aoti(str(path), files)


def load(path: Path, threads: int = 1) -> tuple[Run, dict[str, Any]]:
    """Reads what `write` wrote.

    Args:
        path: The file.
        threads: Threads that may call it at the same time; others wait.

    Returns:
        The model, and what is said of it.
    """
    package = load_package(str(path), num_runners=threads)
    metadata = json.loads(package.get_metadata()[NAME])
    return checked(package, metadata), metadata
