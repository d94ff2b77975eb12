"""A training that is killed and continued ends with the weights and metrics of an undisturbed one."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

EPOCHS = 5


def run_to_end(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def stop_in_epoch(process: subprocess.Popen, epoch: int, signum: signal.Signals) -> str:
    """Sends the signal when the epoch before is over."""
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith(f"epoch {epoch - 1}/"):
            time.sleep(0.05)
            process.send_signal(signum)
            break
    return output + process.communicate(timeout=60)[0]


def test_killed_run_continues_bitwise(workplace: Path, hitpool: Callable, tiny: list[str]) -> None:
    options = [*tiny, "--trainer.log_every_n_steps=3", "--model.model.encoder.dropout=0.1"]
    options += [f"--trainer.max_epochs={EPOCHS}", "--trainer.callbacks=null"]
    run_to_end(hitpool("fit", *options, "--name=calm"))

    process = hitpool("fit", *options, "--name=storm")
    output = stop_in_epoch(process, 2, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, output
    process = hitpool("fit", "--name=storm", "--ckpt_path=last")
    output = stop_in_epoch(process, 3, signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "stopped in epoch" in output
    assert "continue with: hitpool fit --name storm --checkpoint last" in output
    assert "everything is in" not in output
    process = hitpool("fit", *options, "--name=storm", "--ckpt_path=last")
    output = stop_in_epoch(process, 4, signal.SIGINT)
    assert process.returncode == 128 + signal.SIGINT, output
    assert "stopped in epoch" in output
    stopped = torch.load("runs/storm/version_0/ckpts/last.ckpt", weights_only=True)
    assert 0 < stopped["global_step"] < EPOCHS * 12
    run_to_end(hitpool("fit", "--name=storm", "--ckpt_path=last"))

    assert [path.name for path in Path("runs/storm").iterdir()] == ["version_0"]
    for name in ("last.ckpt", "best.ckpt"):
        calm, storm = (torch.load(f"runs/{run}/version_0/ckpts/{name}", weights_only=True) for run in ("calm", "storm"))
        assert calm["global_step"] == storm["global_step"]
        assert calm["state_dict"].keys() == storm["state_dict"].keys()
        for key, weights in calm["state_dict"].items():
            assert torch.equal(weights, storm["state_dict"][key]), key
    calm, storm = (Path(f"runs/{run}/version_0/metrics.csv").read_bytes() for run in ("calm", "storm"))
    assert calm == storm


def test_killed_before_the_first_checkpoint(workplace: Path, hitpool: Callable, tiny: list[str]) -> None:
    process = hitpool("fit", *tiny, "--trainer.max_epochs=1", "--trainer.callbacks=null")
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("run directory"):
            process.kill()
            break
    process.communicate()
    assert not list(Path("runs").rglob("*.ckpt"))
    output = run_to_end(hitpool("fit", "--ckpt_path=last"))
    assert "from the beginning" in output
    assert "epoch 1/1" in output
    assert Path("runs/muon/version_0/ckpts/last.ckpt").is_file()
    assert not Path("runs/muon/version_1").exists()
