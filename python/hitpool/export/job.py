"""Exports a trained model and checks the file before it is there."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import save as safetensors
from torch import Tensor

from hitpool.export import check_events
from hitpool.export.deployed import DeployedModel, needed_columns
from hitpool.export.formats import FORMATS, FormatName, format_for, format_of
from hitpool.export.metadata import metadata_of
from hitpool.export.parity import MARGIN, PHI_MARGIN, TOLERANCE, Agreement, Case, compare, expected_of
from hitpool.files import check_writable, read_index, write_bytes
from hitpool.training.progress import say

if TYPE_CHECKING:
    from hitpool.config import Objects

Layout = Literal["athena"]
EVENTS_SUFFIX = ".check.safetensors"
ROUNDING = ("aoti", "onnx")  # other kernels than those of the original
_EXAMPLE = (2, 12)


def export(
    checkpoint: Path,
    output: Path,
    format: FormatName | None = None,
    events: Path | None = None,
    trust: bool = False,
    layout: Layout | None = None,
) -> Agreement:
    """Writes the model of a checkpoint: hits as on disk in, physical parameters out.

    What it takes and gives is described at `DeployedModel`; any number of events and hits is possible, none too. Arrays
    of other shapes and dtypes are an error, which lists the columns if their number is wrong. The C columns are those
    of the training data, all of them, as the checkpoint says; one that does not (an old one, or weights alone) gives a
    model that takes only what it uses, and a line that says so. Names, order and units of columns and parameters are in
    its metadata, `hitpool.json`. Beside it stand the events of the check with what the original says of them,
    `<output>.check.safetensors`.

    Args:
        checkpoint: Checkpoint of a training.
        output: File to write.
        format: None for what the suffix of `output` says.
        events: Data set whose first events the exported model is checked with; None for those of the training, as far
            as they are where they were, else random hits.
        trust: Let the configuration of the checkpoint name classes of anybody.
        layout: Of ONNX, `athena` for its inputs and outputs of one event, see `hitpool.export.athena`.

    Returns:
        How well the exported model agrees with the original.

    Raises:
        FileNotFoundError: If the checkpoint or its configuration does not exist; or the events of the training, for a
            format that rounds differently, for which random hits tell nothing.
        ValueError: If the checkpoint is an exported model.
        ImportError: If a package that the format needs is not installed.
        UntrustedError: If the configuration names classes of others.
        RuntimeError: If the exported model differs from the original by more than `hitpool.export.parity.TOLERANCE`.
        WriteError: If it cannot be written.
    """
    from hitpool.config import load_checkpoint

    output = Path(output)
    chosen = format_for(output, format)
    _options(chosen, layout)
    _require(chosen)
    check_writable(output.parent)
    if known := format_of(checkpoint):
        raise ValueError(f"{checkpoint} is an exported model ({known}); expected a checkpoint, of which one is made")
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
    model = DeployedModel(objects.model.model, fields, data.scale_factors, data.points, columns)
    real, source = _events(objects, columns, events, chosen)
    origin = _origin(checkpoint, objects) | {"events": source}
    return write_model(model, output, chosen, objects.units, real, origin, layout)


def write_model(
    model: DeployedModel,
    output: Path,
    format: FormatName | None = None,
    units: Mapping[str, str] | None = None,
    events: Sequence[Tensor] | None = None,
    origin: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
) -> Agreement:
    """Writes a model, after the written file has been read and compared with it.

    Args:
        model: The model; it is not changed.
        output: File to write; its folder is created.
        format: None for what the suffix of `output` says.
        units: Units of columns and parameters whose names do not say them.
        events: Hits of the events of the check, [M, C] each; None for random ones.
        origin: What the metadata say of where the model comes from.
        layout: As in `export`.

    Returns:
        How well the exported model agrees with the original.

    Raises:
        RuntimeError: As `export`; then nothing is written.
        WriteError: If it cannot be written.
    """
    chosen = format_for(output, format)
    kind = FORMATS[chosen].load_module()
    options = _options(chosen, layout)
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    real = check_events.random_events(model) if events is None else events
    cases = expected_of(model, check_events.batches(real, model.is_used))
    example = torch.zeros(*_EXAMPLE, len(model.columns)), torch.ones(*_EXAMPLE, dtype=torch.bool)
    built = kind.build(model, example, **options)
    metadata = metadata_of(model, chosen, units or {}, {**({"layout": layout} if layout else {}), **(origin or {})})
    with TemporaryDirectory() as folder:
        file = Path(folder, output.name)
        kind.write(built, metadata, file)
        agreement = compare(kind.load(file)[0], cases, chosen)
        metadata["check"] = {
            "events": agreement.events,
            "exempt": agreement.exempt,
            "excused": agreement.excused,
            "slots": agreement.slots,
            "empty slots": agreement.empty,
            "track threshold": _threshold(cases),
            "worst": agreement.worst,
            "tolerance": TOLERANCE,
            "margin": MARGIN,
            "margin of phi": PHI_MARGIN,
        }
        kind.write(built, metadata, file)
        write_bytes(output.with_name(output.name + EVENTS_SUFFIX), _stored(cases))
        write_bytes(output, file.read_bytes())
    return agreement


def _options(format: FormatName, layout: Layout | None) -> dict[str, str]:
    """Options of the format."""
    if layout is None:
        return {}
    if format != "onnx":
        raise ValueError(f"--layout {layout}: expected format onnx, which has it, got {format}")
    return {"layout": layout}


def _require(format: FormatName) -> None:
    """Fails early where the format cannot be written."""
    kind = FORMATS[format].load_module()
    if hasattr(kind, "require"):
        kind.require()


def _events(
    objects: Objects, columns: Sequence[str], asked: Path | None, format: FormatName
) -> tuple[list[Tensor] | None, str]:
    """Events for the check, and what is said of them."""
    if asked:
        return check_events.real_events(asked, columns), str(asked)
    data = objects.datamodule
    for folder in (data.test_dir, data.val_dir, data.train_dir):
        if folder and Path(folder, "metadata.yaml").is_file() and set(columns) <= set(read_index(folder).hit_columns):
            return check_events.real_events(Path(folder), columns), str(folder)
    missing = "the events of the training are not where they were"
    if format in ROUNDING:
        raise FileNotFoundError(
            f"{missing}, and random hits have no stable fit: name a data set, with whose events the exported model is "
            "compared, by --events"
        )
    say(f"{missing}: the exported model is checked with random hits; --events names a data set")
    return None, "random"


def _origin(checkpoint: Path, objects: Objects) -> dict[str, Any]:
    settings = json.dumps({key: objects.config[key] for key in ("model", "data")}, sort_keys=True, default=str)
    data = objects.config["data"]
    return {
        "checkpoint_sha256": hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest(),
        "configuration_sha256": hashlib.sha256(settings.encode()).hexdigest(),
        "training_data": {"folder": data.get("train_dir"), "events": objects.training_events},
    }


def _threshold(cases: Sequence[Case]) -> float:
    """Track probability from which the parameters of a slot are compared, the same in all cases."""
    (threshold,) = {case.threshold for case in cases}
    return threshold


def _stored(cases: Sequence[Case]) -> bytes:
    """The cases as safetensors."""
    tensors: dict[str, Tensor] = {}
    for number, case in enumerate(cases):
        named = {"hits": case.hits, "valid": case.valid, "exempt": case.exempt}
        named |= dict(zip(("parameters", "track_probability", "hit_probability"), case.expected, strict=True))
        tensors |= {
            f"{number}.{name}": tensor.clone(memory_format=torch.contiguous_format) for name, tensor in named.items()
        }
    said = {"cases": len(cases), "tolerance": TOLERANCE, "track_threshold": _threshold(cases)}
    content = safetensors(tensors, metadata={name: str(value) for name, value in said.items()})
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True).encode()  # theirs has a random order
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[start:]
