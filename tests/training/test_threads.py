"""The choice of threads on imagined machines, given as seconds of a step by number of threads."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Callback

from hitpool.training import TrackingModule, threads
from hitpool.training.threads import FIRST, SHARE, ThreadChoice, Threads

pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|no logger)")

IDLE = {1: 0.08, 2: 0.05, 4: 0.03, 6: 0.025}
NEIGHBOUR = {1: 0.08, 2: 0.2, 4: 0.8, 6: 3.0}


def run(choice: ThreadChoice, seconds: dict[int, float], steps: int) -> float:
    """Seconds that the steps take; every step has another size."""
    total = 0.0
    for step in range(steps):
        work = 1.0 + step % 3
        spent = seconds[choice.threads] * work
        choice.add(spent, work)
        total += spent / work
    return total


@pytest.mark.parametrize(("most", "numbers"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_numbers(most: int, numbers: list[int]) -> None:
    assert ThreadChoice(most).numbers == numbers


@pytest.mark.parametrize(("machine", "best"), [(IDLE, 6), (NEIGHBOUR, 1), (IDLE | {2: 0.01}, 2)])
def test_takes_the_fastest_after_calibration(machine: dict[int, float], best: int) -> None:
    choice = ThreadChoice(6)
    run(choice, machine, FIRST + 60)
    assert choice.calibrated
    assert choice.threads == best


@pytest.mark.parametrize("machine", [IDLE, NEIGHBOUR])
def test_trials_cost_little(machine: dict[int, float]) -> None:
    choice = ThreadChoice(6)
    run(choice, machine, 2 * FIRST)
    steps = 20_000
    assert run(choice, machine, steps) <= (1 + SHARE) * steps * min(machine.values())


def test_follows_a_neighbour_that_comes_and_goes() -> None:
    choice = ThreadChoice(2)
    for machine in (IDLE, NEIGHBOUR, IDLE, NEIGHBOUR):
        run(choice, machine, 1500)
        steps = 5000
        best = min(machine[1], machine[2])
        assert run(choice, machine, steps) <= (1 + SHARE) * steps * best


@pytest.mark.parametrize("slower", [1.0, 3.0, 25.0])
def test_is_never_far_from_one_thread(slower: float) -> None:
    choice, total = ThreadChoice(2), 0.0
    for steps in range(1, 3000):
        total += run(choice, {1: 1.0, 2: slower}, 1)
        assert steps / total >= 0.8


@pytest.mark.parametrize("slower", [1.3, 3.0, 25.0])
def test_is_never_far_from_one_thread_where_only_trials_are_fast(slower: float) -> None:
    choice, total, given_up = ThreadChoice(2), 0.0, 0
    for steps in range(1, 3000):
        before = choice.chosen
        total += run(choice, {1: 1.0, 2: slower if before == 2 else 0.5}, 1)
        given_up += before > choice.chosen
        assert steps / total >= 0.8
    assert given_up


def test_small_differences_change_nothing() -> None:
    choice = ThreadChoice(2)
    run(choice, {1: 1.0, 2: 0.99}, 500)
    assert choice.chosen == 1


@pytest.fixture
def used(
    model: torch.nn.Module,
    make_data: Callable[..., pl.LightningDataModule],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Callable[..., dict[str, list[int]]]]:
    """Runs a command on an imagined machine of two cores, and returns the number of threads in each step by stage."""

    def run(command: str, number: int | None, machine: dict[int, float] = IDLE) -> dict[str, list[int]]:
        clock, numbers = [0.0], {}

        class Work(Callback):
            def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
                numbers.setdefault(trainer.state.stage, []).append(torch.get_num_threads())
                clock[0] += machine[torch.get_num_threads()]

            on_validation_batch_start = on_test_batch_start = on_predict_batch_start = on_train_batch_start

        monkeypatch.setattr(threads.time, "perf_counter", lambda: clock[0])
        monkeypatch.setattr(threads, "available_cores", lambda: 2)
        trainer = Trainer(
            default_root_dir=tmp_path,
            accelerator="cpu",
            max_epochs=4,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Threads(number), Work()],
        )
        data = make_data()
        data.batches *= 30
        getattr(trainer, command)(TrackingModule("test", model), data)
        return numbers

    before = torch.get_num_threads()
    yield run
    torch.set_num_threads(before)


@pytest.mark.parametrize(("machine", "best"), [(IDLE, 2), (NEIGHBOUR, 1)])
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_every_command_chooses(
    used: Callable[..., dict[str, list[int]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    machine: dict[int, float],
    best: int,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    numbers = used(command, None, machine)
    for stage in ("train", "validate") if command == "fit" else (command,):
        assert set(numbers[stage]) == {1, 2}
        assert numbers[stage][-1] == best
    assert torch.get_num_threads() == best
    assert capsys.readouterr().out.count(f"{best} of 2 threads") == 1


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_a_number_is_kept(
    used: Callable[..., dict[str, list[int]]], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert set().union(*used(command, 2, NEIGHBOUR).values()) == {2}


def test_the_environment_is_kept(used: Callable[..., dict[str, list[int]]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    assert set().union(*used("fit", None).values()) == {1}


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    callback = Threads(None)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")  # Lightning counts the cores, without the quota of a container
    monkeypatch.setattr(threads, "available_cores", lambda: 6)
    before = torch.get_num_threads()
    try:
        callback.setup(SimpleNamespace(accelerator=CPUAccelerator(), num_devices=2, world_size=2), None, "fit")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
