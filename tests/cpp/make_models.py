"""Writes small models with the op weighted_pool, and files that are no exported models, into a folder.

Run in a process of its own: what it needs of torch warns, and registers an op that other tests must not see.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from hitpool import library_path

COLUMNS = ["x", "y", "z", "layer"]
FIELDS = ["pt", "eta"]


class Small(nn.Module):
    """Three slots, whose parameters are pooled coordinates."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.slots = nn.Linear(len(COLUMNS), 3)

    def forward(self, hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hits = torch.where(valid.unsqueeze(-1), hits, torch.zeros_like(hits))
        logits = self.slots(hits).transpose(-1, -2)  # [B, N, M]
        pooled = torch.ops.hitpool.weighted_pool(logits, hits, valid, threshold=0.1)  # [B, N, 4, C]
        parameters = pooled[:, :, 0, : len(FIELDS)]
        probability = torch.where(valid.unsqueeze(-2), logits.sigmoid(), torch.zeros_like(logits))
        return parameters.contiguous(), parameters.sum(-1).sigmoid(), probability


class Foreign(nn.Module):
    """Uses an op that a C++ program does not know."""

    def forward(self, hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        other = torch.ops.elsewhere.twice(hits)
        return other, other[..., 0], other


def metadata() -> str:
    columns = [{"name": name, "unit": "mm" if name in "xyz" else "", "used": True} for name in COLUMNS]
    fields = [{"name": name, "unit": "GeV" if name == "pt" else ""} for name in FIELDS]
    return json.dumps(
        {
            "inputs": [{"name": "hits", "columns": columns}, {"name": "valid"}],
            "outputs": [{"name": "parameters", "fields": fields}],
            "thresholds": {"track": 0.5, "hit": 0.5},
        }
    )


def main(folder: Path) -> None:
    torch.ops.load_library(library_path())
    library = torch.library.Library("elsewhere", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: 2 * x, "CompositeExplicitAutograd")
    example = torch.rand(2, 12, len(COLUMNS)), torch.rand(2, 12) > 0.2
    model, extra = Small().eval(), {"hitpool.json": metadata()}
    with torch.no_grad():
        for name, module, files in (("small", model, extra), ("without", model, {}), ("foreign", Foreign(), extra)):
            torch.jit.save(torch.jit.trace(module, example), folder / f"{name}.pt", _extra_files=files)
        torch.jit.save(torch.jit.trace(model, example), folder / "damaged.pt", _extra_files={"hitpool.json": "{]"})
        sizes = {0: torch.export.Dim("B"), 1: torch.export.Dim("M")}
        program = torch.export.export(model, example, dynamic_shapes=(sizes, sizes))
    torch.export.save(program, folder / "program.pt2")
    torch.save({"state_dict": model.state_dict()}, folder / "last.ckpt")
    (folder / "text.pt").write_text("not a model")
    (folder / "short.pt").write_bytes((folder / "small.pt").read_bytes()[:2000])
    (folder / "model.onnx").write_bytes(b"")


main(Path(sys.argv[1]))
