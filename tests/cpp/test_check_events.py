"""Which numbers of the check events a C++ program compares."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

RUN = """
import sys, torch, hitpool
torch.ops.load_library(hitpool.library_path())
torch.manual_seed(1)
hits, valid = torch.randn(4, 9, 4), torch.rand(4, 9) > 0.2
parameters, track, hit = torch.jit.load(sys.argv[1])(hits, valid)
torch.save({"0.hits": hits, "0.valid": valid, "0.exempt": torch.zeros(4, dtype=torch.bool), "0.parameters": parameters,
            "0.track_probability": track, "0.hit_probability": hit}, sys.argv[2])
"""


@pytest.fixture(scope="module")
def expected(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """What Python says of a model without check events."""
    path = tmp_path_factory.mktemp("expected") / "results.pt"
    subprocess.run([sys.executable, "-c", RUN, models / "small.pt", path], check=True, env=os.environ)
    return {name: tensor.detach().contiguous() for name, tensor in torch.load(path).items()}


def said(programs: Path, models: Path, events: Path) -> str:
    command = [programs / "consumer", models / "small.pt", events]
    done = subprocess.run(command, capture_output=True, text=True, env={})
    assert done.returncode == ("differ" in done.stderr), done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("output", "held", "value", "threshold", "agrees"),
    [
        ("parameters", False, 1e3, True, True),
        ("parameters", False, 1e3, False, False),
        ("parameters", False, math.nan, True, False),
        ("parameters", False, math.inf, True, False),
        ("parameters", True, 1e3, True, False),
        ("track_probability", False, 0.0, True, False),
        ("hit_probability", False, 2.0, True, False),
    ],
)
def test_parameters_of_empty_slots_are_not_compared(
    programs: Path,
    models: Path,
    expected: dict[str, torch.Tensor],
    tmp_path: Path,
    output: str,
    held: bool,
    value: float,
    threshold: bool,
    agrees: bool,
) -> None:
    track = expected["0.track_probability"]
    middle = track.flatten().sort().values[5:7].mean().item()  # of 12 slots
    event, slot = ((track >= middle) == held).nonzero()[0].tolist()
    tensors = {name: tensor.clone() for name, tensor in expected.items()}
    tensors[f"0.{output}"][event, slot] = value
    metadata = {"cases": "1", "tolerance": "1e-3"} | ({"track_threshold": str(middle)} if threshold else {})
    events = tmp_path / "events.safetensors"
    save_file(tensors, events, metadata=metadata)
    assert said(programs, models, events).startswith("1 cases agree" if agrees else "consumer: the results differ by ")


def test_the_threshold_of_the_export_is_read(programs: Path, exported: Path, tmp_path: Path) -> None:
    """Of a file as it is written, with another threshold, by which every slot is empty."""
    tensors = load_file(f"{exported}.check.safetensors")
    for name in tensors:
        if name.endswith(".parameters"):
            tensors[name] += 1.0
    for threshold, agrees in (("0.0", False), ("1.1", True)):
        events = tmp_path / f"{threshold}.safetensors"
        count = 1 + max(int(name.partition(".")[0]) for name in tensors)
        save_file(tensors, events, {"cases": str(count), "tolerance": "1e-3", "track_threshold": threshold})
        command = [programs / "consumer", exported, events]
        done = subprocess.run(command, capture_output=True, text=True, env={})
        assert (done.returncode == 0) == agrees, done.stdout + done.stderr
