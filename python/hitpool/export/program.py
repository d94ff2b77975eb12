"""Deployed models as programs of `torch.export`, for Python and for tools that compile them further."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from hitpool.export.arrays import Run, checked
from hitpool.export.deployed import DeployedModel
from hitpool.export.metadata import NAME
from hitpool.export.recorded import record


def build(model: DeployedModel, example: tuple[Tensor, Tensor]) -> ExportedProgram:
    """Records a model.

    Args:
        model: The model.
        example: hits [B, M, C] and valid [B, M].
    """
    return record(model, example)


def write(built: ExportedProgram, metadata: dict[str, Any], path: Path) -> None:
    """Writes what `build` gave, with the metadata as extra file `hitpool.json`.

    Args:
        built: The program.
        metadata: What is said of the model.
        path: File to write, `*.pt2`.
    """
    torch.export.save(built, path, extra_files={NAME: json.dumps(metadata, indent=2)})


def load(path: Path, threads: int = 1) -> tuple[Run, dict[str, Any]]:
    """Reads what `write` wrote.

    Args:
        path: The file.
        threads: Without influence: any number may call it.

    Returns:
        The model, and what is said of it.
    """
    extra = {NAME: ""}
    run = torch.export.load(path, extra_files=extra).module()
    metadata = json.loads(extra[NAME])

    def call(hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            results: tuple[Tensor, Tensor, Tensor] = run(hits, valid)
        return results

    return checked(call, metadata), metadata
