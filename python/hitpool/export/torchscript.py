"""Writes a trained model as TorchScript."""

from __future__ import annotations

import copy
import io
import json
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitpool import __version__
from hitpool.export.checked import CheckedModel
from hitpool.export.deployed import DeployedModel, needed_columns
from hitpool.files import check_writable, write_bytes
from hitpool.muon import unit
from hitpool.nn import MaskFormer
from hitpool.nn.precision import layer_dtype
from hitpool.training.progress import say

METADATA = "hitpool.json"
TOLERANCE = 1e-5
_TRACED_SHAPE = (2, 12)
_CHECKED_SHAPES = ((1, 1), (1, 40), (3, 7), (5, 90), (2, 0))


def export(checkpoint: Path, output: Path, trust: bool = False) -> None:
    """Writes the model of a checkpoint as TorchScript: hits as on disk in, physical parameters out.

    The file is used after `torch.ops.load_library(hitpool.library_path())`, in Python or C++. Its method
    `forward(hits [B, M, C] float32, valid [B, M] bool)` returns parameters [B, N, K], track probabilities [B,
    N] and hit probabilities [B, N, M], with any B and M, and records no gradients; other shapes and dtypes are
    an error, which lists the columns if their number is wrong. It computes in float64 if the training did
    (`trainer.precision 64-true`), else in float32; results are float32. The C columns are those of the training data,
    all of them, as the checkpoint says; one that does not (an old one, or weights alone) gives a model that takes only
    what it uses, and a line that says so. Names, order and units of columns and parameters are in the extra file
    `hitpool.json`.

    Args:
        checkpoint: Checkpoint of a training.
        output: File to write.
        trust: Let the configuration of the checkpoint name classes of anybody.

    Raises:
        FileNotFoundError: If the checkpoint or its configuration does not exist.
        UntrustedError: If the configuration names classes of others.
        RuntimeError: If the exported model differs from the original by more than 1e-5.
        WriteError: If it cannot be written.
    """
    from hitpool.config import load_checkpoint

    check_writable(Path(output).parent)
    objects = load_checkpoint(checkpoint, trust)
    objects.model.say_what_is_untrained()
    data = objects.datamodule
    fields = data.inputs[objects.model.model.input_name]
    columns = objects.hit_columns
    if columns is None:
        columns = needed_columns(fields, data.points)
        say(
            f"{checkpoint} does not say which columns its data set has: the exported model takes the {len(columns)} "
            f"that it uses, in this order: {', '.join(columns)}",
            sys.stderr,
        )
    save(trace(objects.model.model, fields, data.scale_factors, data.points, columns, objects.units), output)


def trace(
    network: MaskFormer,
    fields: Sequence[str],
    scale_factors: Mapping[str, float] | None = None,
    points: Mapping[str, Sequence[Sequence[str]]] | None = None,
    columns: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
) -> tuple[torch.jit.ScriptModule, dict[str, Any]]:
    """Records a network together with its hit features and compares the result with the original.

    Args:
        network: The trained network; it is not changed.
        fields: Hit fields of the network, as in the data's inputs.
        scale_factors: See `hitpool.data.HitFeatures`.
        points: See `hitpool.data.HitFeatures`; None for its default.
        columns: See `DeployedModel`.
        units: Units of columns and parameters whose names do not say them.

    Returns:
        The TorchScript module, and the names, shapes and units of its inputs and outputs.

    Raises:
        ValueError: If the network lacks a task that is needed, or the columns do not suffice.
        RuntimeError: If a value of the example would become a constant, or if the recorded model differs from
            the original by more than 1e-5 for other sizes or values.
    """
    model = DeployedModel(copy.deepcopy(network), fields, scale_factors, points, columns)
    model = model.cpu().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    example = _random_events(model, *_TRACED_SHAPE, generator)
    with torch.no_grad():
        traced = _record(model, example)
        for shape in _CHECKED_SHAPES:
            _compare(model, traced, _random_events(model, *shape, generator))
    return traced, _metadata(model, units or {})


def save(traced: tuple[torch.jit.ScriptModule, dict[str, Any]], output: Path) -> None:
    """Writes what `trace` returned; the file appears when it is complete.

    Args:
        traced: The TorchScript module and its metadata.
        output: File to write; its folder is created.

    Raises:
        WriteError: If it cannot be written.
    """
    module, metadata = traced
    content = io.BytesIO()
    with _jit_is_not_deprecated():
        torch.jit.save(module, content, _extra_files={METADATA: json.dumps(metadata, indent=2)})
    write_bytes(output, content.getbuffer())


def is_exported(path: Path) -> bool:
    """Whether a file is what `save` wrote, and not a checkpoint.

    Args:
        path: The file.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(f"/extra/{METADATA}") for name in archive.namelist())


def load(path: Path) -> tuple[torch.jit.ScriptModule, dict[str, Any]]:
    """Reads what `save` wrote.

    Args:
        path: The file.

    Returns:
        The TorchScript module and its metadata.
    """
    extra = {METADATA: ""}
    with _jit_is_not_deprecated():
        module = torch.jit.load(str(path), _extra_files=extra)
    return module, json.loads(extra[METADATA])


def _record(model: DeployedModel, example: tuple[Tensor, Tensor]) -> torch.jit.ScriptModule:
    with _jit_is_not_deprecated(record=True) as caught:
        warnings.simplefilter("always", torch.jit.TracerWarning)  # whatever the filters of the user
        traced = torch.jit.trace(model, example, check_trace=False)
    for warning in caught or ():
        if issubclass(warning.category, torch.jit.TracerWarning):  # a value of the example became a constant
            raise RuntimeError(f"torchscript export: the model cannot be recorded: {warning.message}")
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    with _jit_is_not_deprecated():
        return torch.jit.script(CheckedModel(traced, model.columns).eval())


@contextmanager
def _jit_is_not_deprecated(record: bool = False) -> Iterator[list[warnings.WarningMessage] | None]:
    """Hides the advice of newer torch versions to leave TorchScript."""
    with warnings.catch_warnings(record=record) as caught:
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=category)
        yield caught


def _random_events(model: DeployedModel, batch: int, hits: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hits of the size of a detector on disk; a fifth of them, padding, and columns without influence hold NaN."""
    scale = torch.tensor(model.column_scale)
    columns = 5 * torch.randn(batch, hits, len(scale), generator=generator) / scale  # [B, M, C]
    valid = torch.rand(batch, hits, generator=generator) >= 0.2  # [B, M]
    return torch.where(valid.unsqueeze(-1) & torch.tensor(model.is_used), columns, torch.nan), valid


def _compare(model: DeployedModel, traced: torch.jit.ScriptModule, example: tuple[Tensor, Tensor]) -> None:
    for name, got, expected in zip(_OUTPUTS, traced(*example), model(*example), strict=True):
        if not torch.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE):
            difference = float((got - expected).abs().max())
            raise RuntimeError(
                f"torchscript export: {name} of the exported model differs by {difference:g} for hits of "
                f"shape {list(example[0].shape)}, allowed is {TOLERANCE:g}"
            )


_OUTPUTS = {
    "parameters": "track parameters in physical units, in the order of fields",
    "track_probability": "probability that the slot holds a track",
    "hit_probability": "probability that the hit belongs to the track, 0 for padded hits",
}


def _metadata(model: DeployedModel, units: Mapping[str, str]) -> dict[str, Any]:
    shapes = {
        "parameters": ["B", "N", "K"],
        "track_probability": ["B", "N"],
        "hit_probability": ["B", "N", "M"],
    }
    outputs: list[dict[str, Any]] = [
        {"name": name, "shape": shapes[name], "meaning": text} for name, text in _OUTPUTS.items()
    ]
    outputs[0]["fields"] = [{"name": field, "unit": unit(field, units)} for field in model.parameters_out]
    columns = [
        {"name": column, "unit": unit(column, units), "used": used}
        for column, used in zip(model.columns, model.is_used, strict=True)
    ]
    return {
        "hitpool_version": __version__,
        "torch_version": torch.__version__,
        "computes_in": str(layer_dtype(model.network)).removeprefix("torch."),
        "inputs": [
            {"name": "hits", "shape": ["B", "M", "C"], "dtype": "float32", "columns": columns},
            {"name": "valid", "shape": ["B", "M"], "dtype": "bool", "meaning": "false at padded hits"},
        ],
        "outputs": outputs,
    }
