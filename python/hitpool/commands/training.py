"""The subcommands fit, validate, test and predict, with their run directories."""

import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_only

from hitpool.configuration import (
    Arguments,
    RunConfig,
    build_data,
    build_model,
    build_trainer,
    build_trainer_options,
    resolve,
    seed,
    set_matmul_precision,
)
from hitpool.configuration.trainer_options import predict_for_acts, predict_into, reports_test
from hitpool.configuration.trust import foreign
from hitpool.cores import available_cores
from hitpool.data.doubts import SAMPLE
from hitpool.failure import explain
from hitpool.files import alone, remove_left_lock
from hitpool.fits import TrackFit
from hitpool.tasks.regression import RegressionTask
from hitpool.training import runs
from hitpool.training.checkpoints import AtomicCheckpointIO, check_of_training
from hitpool.training.log import Log
from hitpool.training.progress import say
from hitpool.training.refinement import refined_task, second_phase
from hitpool.training.requeue import Requeue
from hitpool.training.samples import PARTS, Samples
from hitpool.training.starts import note_start
from hitpool.training.threads import Threads
from hitpool.weights import fitting_weights


class Training:
    """One run of a subcommand: its configuration, model, data, run directory and trainer.

    Args:
        arguments: What the command line means, see `hitpool.configuration.interpret`.
        held: Takes the lock of the run directory that is written to.
        checkpoint_io: Reads and writes checkpoints; what it has read already is not read again.
        log: Keeps what is printed; None for nothing.
    """

    def __init__(
        self, arguments: Arguments, held: ExitStack, checkpoint_io: AtomicCheckpointIO, log: Log | None
    ) -> None:
        self.arguments = arguments
        assert arguments.subcommand is not None
        self.subcommand = arguments.subcommand
        self.held = held
        self.checkpoint_io = checkpoint_io
        self.log = log
        try:
            self.config = resolve(arguments)
        except SystemExit:  # --help and --print_config
            _say_how_files_were_read(arguments)
            raise
        self.checkpoint = self.config.pop("ckpt_path")
        if output := self.config.pop("output", None):
            predict_into(self.config["trainer"], Path(output))
        if self.config.pop("format", None):
            predict_for_acts(self.config["trainer"], Path(output).parent if output else None)
        seed(self.config)
        set_matmul_precision(self.config)
        samples = self._samples()
        with arguments.building("model"):
            self.model = build_model(self.config)
        with arguments.building("data"):
            self.datamodule = build_data(self.config)
        options = build_trainer_options(self.config, self.subcommand)
        _say_how_files_were_read(arguments)
        self.bars = options["enable_progress_bar"] is not False
        self.fast = bool(options["fast_dev_run"])
        if self.subcommand == "fit" and self.model.refinement.epochs:
            refined_task(self.model.model)
        continued = None
        if checkpoint := arguments.checkpoint:
            content = checkpoint_io.look_into(checkpoint)
            fitting_weights(content, checkpoint, self.model)  # Lightning loads them; errors come before any work
            continued = {name: content.get(name) for name in ("global_step", "metrics_rows")}
        elif self.subcommand == "fit":
            self.model.start.check(self.model.model)
        if samples:
            samples.create()
        self._open_data()
        self.requeue = Requeue()
        stored = RunConfig(self.config) if self.subcommand == "fit" else None
        self.run_directory = self._choose_run_directory(stored)
        callbacks = [Threads(self._threads(options["deterministic"])), self.requeue]
        self.trainer = build_trainer(options, self.run_directory, stored, callbacks, checkpoint_io, continued)

    def run(self) -> None:
        """Runs the subcommand."""
        {"fit": self.fit, "validate": self.validate, "test": self.test, "predict": self.predict}[self.subcommand]()

    def fit(self) -> None:
        """Trains, then tests the best checkpoint, or the last one if there was no validation."""
        say(f"run directory: {self.run_directory}")
        place = None
        try:
            self.trainer.fit(self.model, self.datamodule, ckpt_path=self.checkpoint)
            if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
                return
            checkpoint = self._checkpoint_to_test()
            place = "the second phase"
            self.requeue.end_at_signal(self.trainer)
            bars = sys.stdout.isatty() and self.bars
            seed_of_all = self.config["seed_everything"]
            second_phase(self.trainer, self.model, self.datamodule, checkpoint, self.checkpoint_io, seed_of_all, bars)
        except (KeyboardInterrupt, SystemExit) as stop:
            self._say_how_to_continue(place or f"epoch {self.trainer.current_epoch + 1}")
            raise SystemExit(143 if getattr(stop, "code", None) == 143 else 130) from None
        self._say_if_the_time_was_up()
        if self.datamodule.test_dir is None:
            say("not tested: data.test_dir is not set")
        elif self.trainer.limit_test_batches == 0:
            say("not tested: trainer.limit_test_batches is 0")
        else:
            self.checkpoint = checkpoint
            self.test()
        self._say_what_was_written()

    def validate(self) -> None:
        """Prints loss and metrics of a checkpoint."""
        (metrics,) = self.trainer.validate(self.model, self.datamodule, ckpt_path=self.checkpoint, verbose=False)
        _say_metrics(metrics)

    def test(self) -> None:
        """Tests a checkpoint; `hitpool.evaluation.TestReport` prints the results, without it there are the metrics."""
        (metrics,) = self.trainer.test(self.model, self.datamodule, ckpt_path=self.checkpoint, verbose=False)
        if not reports_test(self.trainer.callbacks):  # type: ignore[attr-defined]
            _say_metrics(metrics)
            say("for the table of results, put hitpool.evaluation.TestReport into trainer.callbacks")

    def predict(self) -> None:
        """Predicts with a checkpoint; `hitpool.evaluation.PredictionTable` writes the results."""
        self.trainer.predict(self.model, self.datamodule, ckpt_path=self.checkpoint, return_predictions=False)

    def _checkpoint_to_test(self) -> Path | None:
        """The best checkpoint of a training, or the last; None for the weights in memory."""
        callback: Any = self.trainer.checkpoint_callback
        if not callback:
            say("no checkpoints were written: testing the weights at the end of the training")
            return None
        folder = Path(callback.dirpath)
        if (folder / "best.ckpt").is_file():
            return folder / "best.ckpt"
        if (folder / "last.ckpt").is_file():
            say("there was no validation, so there is no best.ckpt: testing last.ckpt")
            return folder / "last.ckpt"
        if self.checkpoint is not None:  # of no run that is here
            self.trainer.save_checkpoint(folder / "last.ckpt")
            say(f"nothing was trained: the weights of {self.checkpoint} are in {folder / 'last.ckpt'}")
            return folder / "last.ckpt"
        say("nothing was trained: testing the weights as they are")
        return None

    def _has_begun(self) -> bool:
        """Whether a step was trained."""
        return getattr(self, "trainer", None) is not None and self.trainer.global_step > 0

    def _samples(self) -> Samples | None:
        """The events to simulate, if no data folders are given; the configuration then has theirs."""
        if any(self.config["data"][f"{part}_dir"] is not None for part in PARTS):
            return None
        samples = Samples(**self.config["simulate"])
        samples.check()
        self.config["data"] |= {f"{part}_dir": str(samples.path(part)) for part in PARTS}
        return samples

    def _open_data(self) -> None:
        """Opens what the subcommand will read, the test events of a training too, before there is a run directory."""
        self.datamodule.setup(self.subcommand)
        if self.subcommand == "fit" and self.datamodule.test_dir is not None:
            self.datamodule.dataset("test")
        if self.subcommand != "predict":
            for field in self._inverse_fields():
                self.datamodule.check_positive(field)
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            self.datamodule.check_hits()
        if self.subcommand == "fit":
            for line in self.datamodule.doubts():
                say(f"warning: {line}", sys.stderr)
            self._check_track_fits()

    def _check_track_fits(self) -> None:
        """Checks the unit of what the track fits of the model will get."""
        dataset = self.datamodule.dataset("train")
        features, hits = dataset.features, dataset.sample_hits(SAMPLE)
        values = dict(zip(features.fields, features(torch.from_numpy(hits)).unbind(-1), strict=True))  # [hits] each
        for fit in (module for module in self.model.modules() if isinstance(module, TrackFit)):
            fit.check(torch.stack([values[name] for name in fit.inputs], dim=-1))

    def _inverse_fields(self) -> set[str]:
        """Targets that the model learns as 1 / value."""
        tasks = [task for task in self.model.model.tasks if isinstance(task, RegressionTask)]
        return {field for task in tasks for field in task.space.inverse_fields}

    def _choose_run_directory(self, stored: RunConfig | None) -> Path:
        """The run directory of the checkpoint, or a new one; only the first process writes into it."""
        run, folder = self.arguments.run, self.arguments.folder
        if rank_zero_only.rank != 0 or self.fast:  # type: ignore[attr-defined]
            return run or runs.following(folder)
        for other in runs.versions(folder):
            remove_left_lock(other)
        new = run is None
        if run is None:
            run = self.held.enter_context(runs.new(folder, self._has_begun))
        if stored:
            self.held.enter_context(alone(run))
            if new:
                stored.write(run)
            note_start(run, ["hitpool", self.subcommand, *self.arguments.command])
        if self.log:
            self.log.begin(run / "log.txt")
        return run

    def _threads(self, deterministic: bool | str | None) -> int | None:
        """The fixed number of threads, or None if it may be chosen and changed."""
        number = self.config["threads"]
        return available_cores() if number is None and deterministic else number

    def _say_if_the_time_was_up(self) -> None:
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        left = [timer.time_remaining() for timer in callbacks if isinstance(timer, Timer)]
        if self.trainer.should_stop and any(seconds is not None and seconds <= 0 for seconds in left):
            say(
                "the time limit was reached: --checkpoint last goes on from here with a longer one (--trainer.max_time)"
            )

    def _say_how_to_continue(self, place: str) -> None:
        place = f"stopped in {place}"
        if self.arguments.checkpoint is None and runs.checkpoint(self.run_directory, "last") is None:
            say(f"{place}, before the first checkpoint")
            return
        folder = self.arguments.folder
        runs_option = [] if folder.parent == Path("runs") else ["--runs", str(folder.parent)]
        trust = ["--trust"] if foreign(self.config) else []
        command = ["hitpool", "fit", *runs_option, "--name", folder.name, "--checkpoint", "last", *trust]
        say(f"{place}; continue with: {shlex.join(command)}")

    @rank_zero_only
    def _say_what_was_written(self) -> None:
        run = self.run_directory
        names = [f"{path.name}/" if path.is_dir() else path.name for path in run.iterdir()]
        events = "events.out.tfevents"
        listed = ", ".join(sorted(name for name in names if not name.startswith(events)))
        say(f"everything is in {run}: {listed}")
        if any(name.startswith(events) for name in names):
            say(f"curves: tensorboard --logdir {run.parent}")


def _say_metrics(metrics: Mapping[str, float]) -> None:
    width = max(map(len, metrics))
    say("\n".join(f"{name:<{width}}  {value:.5g}" for name, value in sorted(metrics.items())))


def run(arguments: Arguments, checkpoint_io: AtomicCheckpointIO | None = None) -> None:
    """Runs a subcommand.

    Args:
        arguments: What the command line means.
        checkpoint_io: What it has read already is not read again.
    """
    checkpoint_io = checkpoint_io or AtomicCheckpointIO()
    try:
        if arguments.subcommand == "fit" and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            with Log() as log:
                _run(arguments, checkpoint_io, log)
        else:
            _run(arguments, checkpoint_io)
    except SystemExit as stop:
        if stop.code == 1 and isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's way of handling Ctrl-C
            raise KeyboardInterrupt from None
        raise


def _say_how_files_were_read(arguments: Arguments) -> None:
    for line in arguments.translation:
        say(line, sys.stderr)


def _run(arguments: Arguments, checkpoint_io: AtomicCheckpointIO, log: Log | None = None) -> None:
    if checkpoint := arguments.checkpoint:
        check_of_training(checkpoint_io.look_into(checkpoint), checkpoint, to_go_on=arguments.subcommand == "fit")
    if arguments.notice:
        say(arguments.notice)
    try:
        with ExitStack() as held:
            Training(arguments, held, checkpoint_io, log).run()
    except Exception as error:
        if log:
            log.note(explain(error)[0])
        raise
