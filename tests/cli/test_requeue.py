"""On SLURM a training is requeued between two batches, wherever the signal comes."""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from hitpool.cli import main
from hitpool.training import TrackingModule, refinement
from hitpool.training.checkpoints import AtomicCheckpointIO
from hitpool.training.optimizers import AdamW

from .continued import OPTIONS, check, differences

MOMENTS = [  # method, which of its calls, steps in the checkpoint
    (AdamW, "step", 2, 2),  # between the update and the count of the step
    (TrackingModule, "training_step", 6, 6),
    (TrackingModule, "validation_step", 2, 3),
]
IN_THE_SECOND_PHASE = [
    (refinement, "train_part", 1),
    (AtomicCheckpointIO, "save_checkpoint", 2),  # of the only epoch: the signal comes before the second phase
]

SIGNALLED = """\
import os, signal
from lightning.pytorch import Callback

class Signalled(Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 3 - trainer.global_rank:
            os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.fixture
def cluster(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A job of SLURM; the file that is returned holds what scontrol was called with."""
    job = {"NTASKS": "1", "JOB_NAME": "training", "JOB_ID": "123", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    calls, scontrol = workplace / "calls", workplace / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    handler = signal.getsignal(signal.SIGUSR1)
    yield calls
    signal.signal(signal.SIGUSR1, handler)


def signalled(function: Callable, call: int) -> Callable:
    """The function with the signal at its end, in one of its calls."""
    calls = iter(range(1, 1000))

    def wrapper(*args: object, **options: object) -> object:
        result = function(*args, **options)
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGUSR1)
        return result

    return wrapper


def test_a_requeued_training_continues_bitwise(cluster: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*tiny, *OPTIONS, "--trainer.num_sanity_val_steps=0"]
    main(["fit", *options, "--name=straight"])
    assert not cluster.exists()
    for owner, name, call, step in MOMENTS:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, signalled(getattr(owner, name), call))
            main(["fit", *options, f"--name={name}"])
        assert cluster.read_text() == "requeue 123\n"
        cluster.unlink()
        run = Path("runs") / name / "version_0"
        assert torch.load(run / "hpc_ckpt_1.ckpt", weights_only=True)["global_step"] == step
        main(["fit", f"--name={name}", f"--ckpt_path={run}/hpc_ckpt_1.ckpt"])
        check(run, Path("runs/straight/version_0"))


def test_a_test_writes_no_checkpoint_of_a_training(
    cluster: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrackingModule, "test_step", signalled(TrackingModule.test_step, 1))
    main(["fit", *tiny, *OPTIONS, "--trainer.max_epochs=1"])
    assert list(Path("runs").rglob("hpc_ckpt*")) == []
    assert not cluster.exists()


def test_a_second_phase_is_ended_and_repeated_bitwise(
    cluster: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["fit", *tiny, "--data.num_train=24", "--trainer.max_epochs=1", "--threads=1"]
    main([*options, "--name=straight"])
    straight = torch.load("runs/straight/version_0/ckpts/best.ckpt", weights_only=True)
    for owner, name, call in IN_THE_SECOND_PHASE:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, signalled(getattr(owner, name), call))
            with pytest.raises(SystemExit, match="143"):
                main([*options, f"--name={name}"])
        assert cluster.read_text() == "requeue 123\n"
        cluster.unlink()
        run = Path("runs") / name / "version_0"
        assert list(run.rglob("hpc_ckpt*")) == []
        main([*options, f"--name={name}", "--ckpt_path=last"])
        best = torch.load(run / "ckpts/best.ckpt", weights_only=True)
        assert "before_second_phase" in best
        assert differences(best["state_dict"], straight["state_dict"]) == []


def test_a_second_phase_goes_on_if_the_job_is_not_requeued(
    cluster: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    Path("bin/scontrol").write_text("#!/bin/sh\nexit 3\n")
    monkeypatch.setattr(refinement, "describe", signalled(refinement.describe, 1))
    main(["fit", *tiny, "--data.num_train=24", "--trainer.max_epochs=1"])
    said = capsys.readouterr().out
    assert "the job is not requeued: scontrol requeue 123 ended with status 3" in said
    assert "everything is in runs/muon/version_0" in said


def test_two_processes_are_requeued_together_and_continue_bitwise(
    cluster: Path, tiny: list[str], hitpool: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes to the first process a batch after the second."""

    def fit(*options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            monkeypatch.setenv("MASTER_PORT", str(free.getsockname()[1]))
        processes = []
        for rank in "01":
            for name, value in {"NTASKS": "2", "NTASKS_PER_NODE": "2", "PROCID": rank, "LOCALID": rank}.items():
                monkeypatch.setenv(f"SLURM_{name}", value)
            processes.append(hitpool("fit", *options))
        for process in processes:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output

    Path("own.py").write_text(SIGNALLED)
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp", "--data.num_train=48"]
    fit(*tiny, *OPTIONS, *two, "--trainer.callbacks+=own.Signalled", "--name=straight", "--threads=1")
    assert cluster.read_text() == "requeue 123\n"
    straight, run = Path("runs/straight/version_0"), Path("runs/again/version_0")
    shutil.copytree(straight, run)
    checkpoint = run / "hpc_ckpt_1.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 2
    fit("--name=again", f"--ckpt_path={checkpoint}", "--trainer.callbacks=null", "--trust")
    check(run, straight)
