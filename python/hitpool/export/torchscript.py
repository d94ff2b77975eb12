"""Deployed models as TorchScript."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitpool.export.arrays import Run
from hitpool.export.checked import CheckedModel
from hitpool.export.deployed import DeployedModel
from hitpool.export.metadata import NAME


def build(model: DeployedModel, example: tuple[Tensor, Tensor]) -> torch.jit.ScriptModule:
    """Records a model; the check of its inputs becomes part of it.

    Args:
        model: The model.
        example: hits [B, M, C] and valid [B, M].

    Raises:
        RuntimeError: If a value of the example would become a constant.
    """
    with torch.no_grad(), _jit_is_not_deprecated(record=True) as caught:
        warnings.simplefilter("always", torch.jit.TracerWarning)  # whatever the filters of the user
        traced = torch.jit.trace(model, example, check_trace=False)
    for warning in caught or ():
        if issubclass(warning.category, torch.jit.TracerWarning):  # a value of the example became a constant
            raise RuntimeError(f"torchscript export: the model cannot be recorded: {warning.message}")
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    with _jit_is_not_deprecated():
        return torch.jit.script(CheckedModel(traced, model.columns).eval())


def write(built: torch.jit.ScriptModule, metadata: dict[str, Any], path: Path) -> None:
    """Writes what `build` gave, with the metadata as extra file `hitpool.json`.

    Args:
        built: The module.
        metadata: What is said of it.
        path: File to write.
    """
    with _jit_is_not_deprecated():
        torch.jit.save(built, str(path), _extra_files={NAME: json.dumps(metadata, indent=2)})


def load(path: Path, threads: int = 1) -> tuple[Run, dict[str, Any]]:
    """Reads what `write` wrote.

    Args:
        path: The file.
        threads: Without influence: any number may call it.

    Returns:
        The model, and what is said of it.
    """
    extra = {NAME: ""}
    with _jit_is_not_deprecated():
        module = torch.jit.load(str(path), _extra_files=extra)

    def call(hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        try:
            with torch.no_grad():
                results: tuple[Tensor, Tensor, Tensor] = module(hits, valid)
        except torch.jit.Error as error:
            raise ValueError(str(error).strip().splitlines()[-1]) from None
        return results

    return call, json.loads(extra[NAME])


@contextmanager
def _jit_is_not_deprecated(record: bool = False) -> Iterator[list[warnings.WarningMessage] | None]:
    """Hides the advice of newer torch versions to leave TorchScript, which `hitpool export` gives in its own words."""
    with warnings.catch_warnings(record=record) as caught:
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=category)
        yield caught
