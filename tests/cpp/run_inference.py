"""Calls the ops and runs a model with torch and one library alone: run_inference.py LIBRARY FOLDER."""

import sys
import warnings
from pathlib import Path

import torch

library, folder = sys.argv[1], Path(sys.argv[2])
torch.ops.load_library(library)


def outcome(name: str, arguments: tuple, options: dict):
    """Results of an op, or the first line of its error."""
    try:
        return getattr(torch.ops.hitpool, name)(*arguments, **options)
    except (ValueError, TypeError) as error:
        return str(error).splitlines()[0]


calls, batches = torch.load(folder / "inputs.pt")
results = [outcome(*call) for call in calls]
schemas = [str(getattr(torch.ops.hitpool, name).default._schema) for name, _, _ in calls]
with warnings.catch_warnings(), torch.no_grad():
    warnings.simplefilter("ignore")  # TorchScript is deprecated
    model = torch.jit.load(folder / "model.pt")
    outputs = [model(*batch) for batch in batches]
assert "hitpool" not in sys.modules
torch.save((str(torch.__version__), results, schemas, outputs), folder / "outputs.pt")
