"""Writes check events beside a TorchScript model, as the exporter does: safetensors with what it gives in Python."""

import json
import struct
import sys
from pathlib import Path

import torch
from torch import Tensor

import hitpool

SHAPES = [(1, 1), (2, 0), (0, 5), (3, 17), (5, 60)]
TYPES = {torch.float32: "F32", torch.bool: "BOOL"}
OUTPUTS = ("parameters", "track_probability", "hit_probability")


def cases(model: torch.jit.ScriptModule, columns: int) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    torch.manual_seed(5)
    for number, (events, hits) in enumerate(SHAPES):
        valid = torch.rand(events, hits) > 0.2
        values = torch.where(valid.unsqueeze(-1), 1000 * torch.randn(events, hits, columns), torch.nan)
        exempt = torch.arange(events) == 4
        with torch.no_grad():
            results = model(values, valid)
        for name, tensor in zip(("hits", "valid", "exempt", *OUTPUTS), (values, valid, exempt, *results), strict=True):
            tensors[f"{number}.{name}"] = tensor.clone()
        for name in OUTPUTS:
            tensors[f"{number}.{name}"][exempt] = 7.0  # what is not compared may be anything
    return tensors


def write(path: Path, tensors: dict[str, Tensor], strings: dict[str, str]) -> None:
    header: dict = {"__metadata__": strings}
    values = b""
    for name, tensor in tensors.items():
        content = tensor.contiguous().numpy().tobytes()
        offsets = [len(values), len(values) + len(content)]
        header[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        values += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)


def main(model: Path) -> None:
    torch.ops.load_library(hitpool.library_path())
    extra = {"hitpool.json": ""}
    module = torch.jit.load(model, _extra_files=extra)
    columns = json.loads(extra["hitpool.json"])["inputs"][0]["columns"]
    strings = {"cases": str(len(SHAPES)), "tolerance": "1e-5"}
    write(model.with_name(f"{model.name}.check.safetensors"), cases(module, len(columns)), strings)


main(Path(sys.argv[1]))
