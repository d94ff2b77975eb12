"""What travels inside an exported model: names, units, thresholds, versions, and where it comes from."""

from collections.abc import Mapping
from typing import Any

import torch

from hitpool import __version__
from hitpool.export.deployed import DeployedModel
from hitpool.muon import unit
from hitpool.nn.precision import layer_dtype

NAME = "hitpool.json"
OUTPUTS = {
    "parameters": (["B", "N", "K"], "track parameters in physical units, in the order of fields"),
    "track_probability": (["B", "N"], "probability that the slot holds a track"),
    "hit_probability": (["B", "N", "M"], "probability that the hit belongs to the track, 0 for padded hits"),
}
TRACK_THRESHOLD = 0.5  # of `hitpool predict`


def metadata_of(
    model: DeployedModel, format: str, units: Mapping[str, str], origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Describes an exported model.

    Args:
        model: The model.
        format: Name of the format.
        units: Units of columns and parameters whose names do not say them.
        origin: Where it comes from, such as `checkpoint_sha256`.
    """
    columns = [
        {"name": column, "unit": unit(column, units), "used": used}
        for column, used in zip(model.columns, model.is_used, strict=True)
    ]
    outputs: list[dict[str, Any]] = [
        {"name": name, "shape": shape, "meaning": meaning} for name, (shape, meaning) in OUTPUTS.items()
    ]
    outputs[0]["fields"] = [{"name": field, "unit": unit(field, units)} for field in model.parameters_out]
    return {
        "hitpool_version": __version__,
        "torch_version": torch.__version__,
        "format": format,
        "computes_in": str(layer_dtype(model.network)).removeprefix("torch."),
        "inputs": [
            {"name": "hits", "shape": ["B", "M", "C"], "dtype": "float32", "columns": columns},
            {"name": "valid", "shape": ["B", "M"], "dtype": "bool", "meaning": "false at padded hits"},
        ],
        "outputs": outputs,
        "thresholds": {
            "track": TRACK_THRESHOLD,
            "hit": model.mask_task.pred_threshold,
            "pooled hit": [task.assignment_threshold for task in model.pooling],
        },
        **origin,
    }
