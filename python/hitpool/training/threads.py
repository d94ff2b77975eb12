"""How many threads torch uses on CPU: the number with which a command is fastest on the machine as it is.

Hundreds of times in each step torch cuts work into as many parts as there are threads and waits for the last one. That
pays on an idle machine. If another process takes a core, all threads wait for the one that lost it, and a step can take
many times as long as with one thread. So speeds are measured, early and now and then.
"""

import os
import statistics
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.trainer.states import TrainerFn

from hitpool.cores import available_cores
from hitpool.training.progress import say

FIRST = 100  # steps with one thread before the first trial: one step in it that takes 25 times as long is then 20 %
STEPS = 5  # of a trial; the first one, in which threads start, does not count
GAIN = 1.05  # a number of threads has to be so many times as fast to be preferred
SHARE = 0.05  # of the time goes into trials, at the most


class ThreadChoice:
    """Finds the number of threads with which steps are fastest by trying others now and then.

    The numbers are 1, 2, 4, ... and `most`. After 100 steps all of them are tried, later in turn the next one above and
    below the choice. Speeds are medians of a few steps each. A trial that turns out to be hopeless ends at once, and
    the next one waits until trials have taken at most 5 % of the time. A choice that becomes slower than one thread
    was, because another process has come, is given up for one thread within a few steps.

    Args:
        most: Largest number of threads.
    """

    def __init__(self, most: int) -> None:
        self.numbers = sorted({1 << power for power in range(most.bit_length())} | {most})
        self.threads = 1
        self.calibrated = len(self.numbers) == 1  # all numbers were tried
        self._chosen = 0
        self._untried = list(range(1, len(self.numbers)))
        self._direction = 1
        self._trial: int | None = None
        self._costs: list[float] = []  # seconds per work of the latest steps, of the trial if there is one
        self._reference = 0.0  # the same of the choice, before the trial
        self._one = 0.0  # the same of one thread, when it was the choice
        self._trial_seconds = 0.0
        self._wait = 0.0
        self._skip = FIRST - STEPS

    @property
    def chosen(self) -> int:
        """The fastest number so far; `threads` is another one during a trial."""
        return self.numbers[self._chosen]

    def add(self, seconds: float, work: float) -> bool:
        """Takes the time of a step with `threads` threads, and says with how many the next one is to run.

        Args:
            seconds: Duration of the step.
            work: How much there was to do, in any unit.

        Returns:
            Whether another number than before has been chosen.
        """
        if self._skip:
            self._skip -= 1
            return False
        self._costs.append(seconds / work)
        if self._trial is None:
            self._wait -= seconds
            self._costs = self._costs[-STEPS:]
            if self._chosen and self._worse_than_one():
                self._chosen, self.threads, self._costs = 0, 1, []
                self._wait = STEPS * seconds / SHARE
                return True
            if len(self._costs) == STEPS and self._wait <= 0 and len(self.numbers) > 1:
                self._start_trial()
            return False
        self._trial_seconds += seconds
        if sum(self._costs) > 2 * STEPS * self._reference:  # hopeless
            self._end_trial()
        elif len(self._costs) == STEPS:
            better = self._reference > GAIN * statistics.median(self._costs[1:])
            if better:
                self._chosen = self._trial
            self._end_trial()
            return better
        return False

    def _worse_than_one(self) -> bool:
        if sum(self._costs) > 2 * STEPS * self._one:
            return True
        return len(self._costs) == STEPS and statistics.median(self._costs) > GAIN * self._one

    def _start_trial(self) -> None:
        self._reference = statistics.median(self._costs)
        if not self._chosen:
            self._one = self._reference
        if self._untried:
            self._trial = self._untried.pop(0)
        else:
            if not 0 <= self._chosen + self._direction < len(self.numbers):
                self._direction = -self._direction
            self._trial = self._chosen + self._direction
            self._direction = -self._direction
        self.threads = self.numbers[self._trial]
        self._costs, self._trial_seconds = [], 0.0

    def _end_trial(self) -> None:
        self._trial, self._costs = None, []
        self.threads = self.chosen
        self.calibrated = not self._untried
        self._wait = 0.0 if self._untried else self._trial_seconds / SHARE


class Threads(Callback):
    """Sets the number of torch's threads in the processes that compute on CPU.

    Args:
        number: Number of threads of each process. None: as the environment variable OMP_NUM_THREADS says; without it
            the cores of the process, shared between the processes of a distributed training, and a single process
            chooses and changes the number with `ThreadChoice`, in training, validation, test and prediction.
    """

    def __init__(self, number: int | None) -> None:
        self.number = number
        self._environment = "OMP_NUM_THREADS" in os.environ  # later Lightning sets it in distributed trainings
        self._most: int | None = None  # to choose from; None: the number is fixed
        self._choices: dict[str, ThreadChoice] = {}  # by stage: a step of each is other work

    @property
    def chooses(self) -> bool:
        """Whether the number changes during a command."""
        return self._most is not None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Sets the number."""
        if self.number is not None:
            torch.set_num_threads(self.number)
        elif isinstance(trainer.accelerator, CPUAccelerator) and not self._environment:
            most = max(1, available_cores() // trainer.num_devices)
            if trainer.world_size == 1:
                self._most, most = most, 1
            torch.set_num_threads(most)

    def on_train_batch_start(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Sets the number for a step, and starts the clock."""
        if self._most is None:
            return
        stage = trainer.state.stage
        assert stage is not None
        choice = self._choices.setdefault(stage, ThreadChoice(self._most))
        torch.set_num_threads(choice.threads)
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        """Changes the number if that makes the steps faster; between steps a trial does not count."""
        if self._most is None:
            return
        stage = trainer.state.stage
        assert stage is not None
        choice = self._choices[stage]
        calibrated = choice.calibrated
        changed = choice.add(time.perf_counter() - self._start, _padded_hits(batch))
        torch.set_num_threads(choice.chosen)
        of_the_command = trainer.training or trainer.state.fn != TrainerFn.FITTING
        if of_the_command and choice.calibrated and (changed or not calibrated):
            say(f"{choice.chosen} of {self._most} threads are the fastest now; --threads fixes the number")

    on_validation_batch_start = on_test_batch_start = on_predict_batch_start = on_train_batch_start
    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = on_train_batch_end


def _padded_hits(batch: Any) -> int:
    """Size of the largest tensor among the inputs: events times hits of the longest event."""
    inputs, _ = batch
    return max(values.numel() for values in inputs.values())
