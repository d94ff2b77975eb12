"""Precisions of the Trainer from the command line."""

import json
from pathlib import Path

import h5py
import pytest
import torch

from hitpool.cli import main
from hitpool.configuration.check import check


def test_float64_from_training_to_export(workplace: Path, tiny: list[str]) -> None:
    main(["fit", *tiny, "--name=exact", "--trainer.max_epochs=1", "--trainer.precision=64-true"])
    checkpoint = workplace / "runs/exact/version_0/ckpts/best.ckpt"
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float64}
    main(["predict", "--name=exact"])
    with h5py.File(workplace / "runs/exact/version_0/predictions.h5") as file:
        assert file["tracks"].dtype["track_truthMuon_pt"] == "float64"
    main(["export", f"--checkpoint={checkpoint}", "--output=model.pt"])
    extra = {"hitpool.json": ""}
    torch.jit.load("model.pt", _extra_files=extra)
    assert json.loads(extra["hitpool.json"])["computes_in"] == "float64"


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "transformer-engine", "transformer-engine-float16"])
def test_what_rounds_coordinates_is_refused_before_any_work(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"trainer.precision is {precision}, in which hit coordinates are rounded"):
        main(["fit", f"--trainer.precision={precision}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", [None, 32, 64, "16", "bf16", "16-mixed", "bf16-mixed", "32-true", "64-true"])
def test_other_precisions_pass(precision: str | int | None) -> None:
    data = {"inputs": {"hit": ["x"]}, "targets": {"particle": ["pt"]}}
    check({"data": data, "model": {"model": {}}, "trainer": {"precision": precision}})
