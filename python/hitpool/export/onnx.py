"""ONNX: one file of standard operators, which needs neither torch nor hitpool."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hitpool.export.arrays import Run, checked
from hitpool.export.athena import ONE_EVENT, AthenaModel, gather_events, gnn_config
from hitpool.export.deployed import DeployedModel
from hitpool.export.metadata import NAME, OUTPUTS
from hitpool.export.recording import EVENTS, HITS, Symbol, recorder
from hitpool.files import write_bytes
from hitpool.nn.recorded import recording

if TYPE_CHECKING:
    import onnx
    import onnxruntime

LAYOUTS = ("batch", "athena")
_NAMES: dict[int, str] = {EVENTS: "B", HITS: "M"}


@dataclass
class OnnxModel:
    """A model as ONNX.

    Args:
        model: The graph, without metadata.
        extra: Further metadata by key.
    """

    model: onnx.ModelProto
    extra: dict[str, str]


def build(
    model: DeployedModel, example: tuple[Tensor, Tensor], layout: str = "batch", name: str = "HitPool"
) -> OnnxModel:
    """Writes down what a model computes in standard operators of ONNX, opset 18.

    The layout `batch` has the inputs and outputs of the model, with any number of events and hits. That of `athena` is
    for one event; see `hitpool.export.athena`.

    Args:
        model: The model, in evaluation mode.
        example: Not used: the graph depends on no values.
        layout: One of `LAYOUTS`.
        name: Name of the model in the layout `athena`, the beginning of the names of its outputs.

    Returns:
        The graph, checked.

    Raises:
        ValueError: The layout or the name is none.
        ModuleNotFoundError: onnx is not installed.
        RecordError: The model does what cannot be recorded, such as to look at values.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"onnx export: layout must be one of {', '.join(LAYOUTS)}, got {layout}")
    checker = _needed("onnx.checker")
    columns = len(model.columns)
    record = recorder()
    module: DeployedModel | AthenaModel = model
    outputs, extra = list(OUTPUTS), {}
    if layout == "athena":
        module = AthenaModel(model, name)
        outputs, extra = module.outputs, {"gnn_config": json.dumps(gnn_config(model, name))}
        inputs = [record.input(ONE_EVENT, torch.float32, (HITS, columns), ("M", columns))]
    else:
        inputs = [
            record.input("hits", torch.float32, (EVENTS, HITS, columns), ("B", "M", columns)),
            record.input("valid", torch.bool, (EVENTS, HITS), ("B", "M")),
        ]
    with torch.no_grad(), recording(), record:
        results: tuple[Symbol, ...] = module(*inputs)
    for output, result in zip(outputs, results, strict=True):
        shape = [_NAMES.get(size, size) for size in result.shape]
        record.graph.output(output, result.value, result.dtype, shape)
    graph = record.graph.write("hitpool" if layout == "batch" else name)
    checker.check_model(graph, full_check=True)
    return OnnxModel(graph, extra)


def write(built: OnnxModel, metadata: dict[str, Any], path: Path) -> None:
    """Writes a model; the file appears when it is complete.

    Args:
        built: What `build` returned.
        metadata: What the file says about the model.
        path: File to write; its folder is created.

    Raises:
        WriteError: If it cannot be written.
    """
    model = type(built.model)()
    model.CopyFrom(built.model)
    _needed("onnx.helper").set_model_props(model, {NAME: json.dumps(metadata, indent=2), **built.extra})
    write_bytes(path, model.SerializeToString())


def load(path: Path, threads: int = 1) -> tuple[Run, dict[str, Any]]:
    """Reads a model of either layout for onnxruntime on CPU.

    Args:
        path: What `write` wrote.
        threads: Threads within an operator.

    Returns:
        What takes hits [B, M, C] and valid [B, M] as `DeployedModel.forward` does, also from several threads, and the
        metadata. A model of one event runs event by event, on the hits that are valid. Wrong shapes, dtypes and numbers
        of columns are a ValueError.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
        ValueError: The file is another ONNX model.
    """
    runtime = _needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    if NAME not in said:
        raise ValueError(f"{path} is not a model of hitpool: it has no metadata {NAME}")
    metadata = json.loads(said[NAME])
    run = _run_athena if session.get_inputs()[0].name == ONE_EVENT else _run_batch
    return checked(partial(run, session), metadata), metadata


def _run_batch(session: onnxruntime.InferenceSession, hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    results = session.run(list(OUTPUTS), {"hits": hits.numpy(), "valid": valid.numpy()})
    parameters, track, hit = map(torch.from_numpy, results)
    return parameters, track, hit


def _run_athena(session: onnxruntime.InferenceSession, hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    ranks = [len(output.shape) for output in session.get_outputs()]
    results = [session.run(None, {ONE_EVENT: event[chosen].numpy()}) for event, chosen in zip(hits, valid, strict=True)]
    return gather_events([list(map(torch.as_tensor, result)) for result in results], valid, ranks)


def require() -> None:
    """Checks that a model can be written and run here.

    Raises:
        ModuleNotFoundError: onnx or onnxruntime is not installed.
    """
    _needed("onnx")
    _needed("onnxruntime")


def _needed(module: str) -> ModuleType:
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the format onnx needs {package}, which is not installed: pip install "hitpool[onnx]"', name=package
        ) from error
