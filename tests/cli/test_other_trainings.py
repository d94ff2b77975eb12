from collections.abc import Callable
from pathlib import Path

import lightning
import pytest
import torch

from hitpool.cli import main
from hitpool.config import load

TRACK_FIT = "{class_path: hitpool.fits.HelixFit, init_args: {hit_fields: [r], points: [mid_x, mid_y, mid_z], field: 2}}"
NO_RESPONSE = [f"--model.model.tasks.2.{part}=null" for part in ("response", "hit_response")]
NO_RESPONSE += ["--model.refinement.epochs=0"]
HIDDEN_LAYER = "--model.model.init_args.input_nets.0.init_args.net.init_args.hidden_layers=[7]"


def test_unusable_checkpoint_ends_with_a_line(workplace: Path, hitpool: Callable, tiny: list[str]) -> None:
    torch.save({"state_dict": {"model.tasks.2.net.0.weight": torch.ones(2)}}, "query.ckpt")
    process = hitpool("fit", *tiny, "--trainer.max_epochs=1", "--model.regression_checkpoint=query.ckpt")
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert output.splitlines()[-1].startswith(
        "hitpool fit: checkpoint query.ckpt: expected one task with weights in raw"
    )
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_checkpoint_that_cannot_be_continued_is_named(
    workplace: Path, tiny: list[str], command: str, capsys: pytest.CaptureFixture
) -> None:
    def message(*options: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main([command, *tiny, "--ckpt_path=given.ckpt", *options])
        return f"{stop.value.code}{capsys.readouterr().err}"

    Path("given.ckpt").write_bytes(b"abc")
    assert message().startswith(f"hitpool {command}: checkpoint given.ckpt cannot be read: ")
    torch.save({"state_dict": {}}, "given.ckpt")
    end = "is not of a training: expected one that hitpool fit wrote, this has no global_step and no pytorch-lightning"
    assert message().startswith(f"hitpool {command}: checkpoint given.ckpt {end}")
    training = {"global_step": 3, "pytorch-lightning_version": lightning.__version__}
    weights = {f"model.{key}": value for key, value in load("muon.yaml").model.model.state_dict().items()}
    if command == "fit":
        torch.save({"state_dict": weights, **training}, "given.ckpt")
        assert "expected one that hitpool fit wrote, this has no loops and no optimizer_states" in message()
    training |= {"loops": {}, "optimizer_states": []}
    torch.save({"state_dict": weights | {"model.extra": torch.ones(2)}, **training}, "given.ckpt")
    end = "does not fit the model: model.extra of the checkpoint is not in the model. It needs the configuration"
    assert message().startswith(f"hitpool {command}: checkpoint given.ckpt {end}")
    without = {name: value for name, value in weights.items() if ".hit_response." not in name}
    torch.save({"state_dict": without, **training}, "given.ckpt")
    said = message()
    assert "does not fit the model: model.tasks.2.hit_response is missing in the checkpoint. It needs the" in said
    assert "what differs is set by --model.model.tasks.2.hit_response" in said
    torch.save({"state_dict": weights, **training}, "given.ckpt")
    part = "--model.model.tasks.2.hit_response"
    said = message(f"{part}=null")
    assert "does not fit the model: model.tasks.2.hit_response of the checkpoint is not in the model. It" in said
    assert said.splitlines()[-1].endswith(f"what differs is set by {part}")
    shape = list(weights["model.input_nets.0.net.0.weight"].shape)
    assert f"weight is {shape} in the checkpoint and [7, " in message(HIDDEN_LAYER)
    assert not Path("runs").exists()


def test_points_of_a_track_fit_that_are_not_in_metres_end_before_there_is_a_run(
    workplace: Path, tiny: list[str], capsys: pytest.CaptureFixture
) -> None:
    fields = [f"--data.scale_factors.mid_{axis}=1000" for axis in "xyz"]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *tiny, *fields, f"--model.model.tasks.2.track_fit={TRACK_FIT}", *NO_RESPONSE])
    said = f"{stop.value.code}{capsys.readouterr().err}"
    assert "HelixFit: the points mid_x, mid_y, mid_z reach " in said
    assert "expected metres, at most 100: scale them in data.scale_factors (0.001 if they are in mm)" in said
    assert not Path("runs").exists()


def test_wrong_scales_are_a_warning_by_name(workplace: Path, tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    main(["fit", *tiny, "--data.scale_factors.spacePoint_time=100", "--trainer.fast_dev_run=1"])
    said = capsys.readouterr().err
    assert "warning: inputs far from order one, root mean square after scaling: spacePoint_time is " in said
    assert said.count("warning: ") == 1
