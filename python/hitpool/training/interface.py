"""The command line of training: LightningCLI with run directories."""

import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from hitpool import __version__
from hitpool.cores import available_cores
from hitpool.data import HitDataModule
from hitpool.data.doubts import SAMPLE
from hitpool.data.names import suggestion
from hitpool.files import alone, remove_left_lock, write_text
from hitpool.fits import TrackFit
from hitpool.parser_message import one_line
from hitpool.tasks.regression import RegressionTask
from hitpool.training import runs
from hitpool.training.arguments import Arguments
from hitpool.training.checkpoints import AtomicCheckpointIO, best_and_last, check_of_training
from hitpool.training.configuration import check
from hitpool.training.loggers import MetricsBoard, MetricsTable
from hitpool.training.module import TrackingModule
from hitpool.training.progress import progress_bar, say
from hitpool.training.refinement import refined_task, second_phase
from hitpool.training.requeue import Requeue
from hitpool.training.samples import PARTS, Samples
from hitpool.training.threads import Threads
from hitpool.training.trainer_options import check_callbacks, check_options, reports_test
from hitpool.weights import fitting_weights

DESCRIPTIONS = {
    "fit": "Train a model and test its best checkpoint. Without data folders, events are simulated (--simulate). "
    "--ckpt_path last continues the most recent run.",
    "validate": "Measure a checkpoint, by default the best of the most recent run, on the validation events.",
    "test": "Measure a checkpoint, by default the best of the most recent run, on the test events.",
    "predict": "Write the predictions of a checkpoint, by default the best of the most recent run, for the test "
    "events. hitpool.evaluation.PredictionWriter in trainer.callbacks says where.",
}
COMMON = (
    " --config is a file or the name of a packaged configuration (muon.yaml, muon_seed.yaml, muon_query.yaml, "
    "acts.yaml); configurations of hepattn and files with tasks alone are understood too. "
    "Entries of lists are changed by their index, as in --model.model.tasks.2.loss_weight 0.5; --print_config shows "
    "what there is."
)

yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, value: dumper.represent_data(value.value))  # as in Timer


class RunConfig(Callback):
    """Writes the resolved configuration into the run directory.

    Args:
        text: The configuration as YAML.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes `config.yaml` when nothing is left that could keep the training from starting."""
        if trainer.is_global_zero:
            self.write(Path(trainer.default_root_dir))

    def write(self, run: Path) -> None:
        """Writes `config.yaml` into `run`."""
        write_text(run / "config.yaml", self.text)


class Parser(LightningArgumentParser):
    """Parser that takes options by their whole names only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)


class TrainingCLI(LightningCLI):
    """Parses the arguments, builds data, model and trainer, and runs the subcommand.

    Args:
        arguments: What the command line means, see `hitpool.training.arguments.interpret`.
        held: Takes the lock of the run directory that is written to.
        checkpoint_io: Reads and writes checkpoints; what it has read already is not read again.
    """

    def __init__(self, arguments: Arguments, held: ExitStack, checkpoint_io: AtomicCheckpointIO | None = None) -> None:
        self.arguments = arguments
        self.held = held
        self.checkpoint_io = checkpoint_io or AtomicCheckpointIO()
        self.samples: Samples | None = None
        self.requeue = Requeue()
        self.continued: dict[str, Any] = {"global_step": 0, "metrics_rows": 0}
        command = arguments.subcommand
        header = {"dump_header": [f"hitpool {__version__}"]}
        kwargs: dict[str, Any] = {"prog": "hitpool", "exit_on_error": False, **header}
        if command:
            kwargs[command] = {"description": DESCRIPTIONS[command] + COMMON, **header}
        super().__init__(
            TrackingModule,
            HitDataModule,
            save_config_callback=None,
            trainer_defaults={"use_distributed_sampler": False, "enable_model_summary": False},
            seed_everything_default=42,
            parser_kwargs=kwargs,
            parser_class=Parser,
            args=[command, *arguments.options] if command else arguments.options,
            run=command is not None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def subcommands(self) -> dict[str, set[str]]:
        """The one subcommand that was called, with the Trainer's arguments that are not options."""
        skip = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders"}
        skip |= {"verbose", "weights_only", "return_predictions"}
        return {self.arguments.subcommand: skip} if self.arguments.subcommand else {}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the options that are neither Lightning's nor the model's."""
        parser.add_argument("--name", type=str, default="hitpool", help="Name of the training.")
        parser.add_argument("--runs", type=str, default="runs", help="Folder for <name>/version_<k>.")
        parser.add_argument(
            "--threads",
            type=PositiveInt | None,
            default=None,
            help="Threads of each process on CPU. If not given, a training tries now and then which number is fastest. "
            "Only a fixed number (with --trainer.deterministic true: all cores) gives the same bits in each training.",
        )
        parser.add_class_arguments(Samples, "simulate")
        parser.link_arguments("name", "model.name")

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """Parses the given arguments.

        Raises:
            ArgumentError: If they are wrong.
            ValueError: If they are wrong and no subcommand is run.
        """
        try:
            self.config = parser.parse_args(args)
        except ArgumentError as error:
            line = one_line(str(error))
            if unknown := re.match(r"there is no option (?:--|')([\w.]+)", line):
                defaults = self._parser(self.arguments.subcommand).get_defaults()
                line += suggestion(unknown[1], [str(key) for key in defaults.keys()])  # noqa: SIM118  (a Namespace)
            raise (ArgumentError(None, line) if self.arguments.subcommand else ValueError(line)) from error
        section = self.config[self.arguments.subcommand] if self.arguments.subcommand else self.config
        if not 0 <= section.seed_everything < 2**32:
            raise ValueError(f"seed_everything: expected 0 to {2**32 - 1}, got {section.seed_everything}")

    def _parse_ckpt_path(self) -> None:
        """Leaves out that LightningCLI reads the checkpoint for hyperparameters: config.yaml of its run has them."""

    def before_instantiate_classes(self) -> None:
        """Chooses the data folders and checks that the parts of the configuration fit together."""
        section = self.config[self.subcommand] if self.subcommand else self.config
        if self.subcommand and all(section.data[f"{part}_dir"] is None for part in PARTS):
            self.samples = Samples(**section.simulate.as_dict())
            self.samples.check()
            for part in PARTS:
                section.data[f"{part}_dir"] = str(self.samples.path(part))
        stored = section.clone()
        stored.pop("ckpt_path", None)
        self.text = self._parser(self.subcommand).dump(stored, skip_unset=False)
        self.settings = yaml.safe_load(self.text)
        check(self.settings)

    def instantiate_classes(self) -> None:
        """Builds data, model and callbacks; simulates the events if none are given; then builds the trainer."""
        try:
            self.config_init = self.parser.instantiate(self.config)
            options = self._get(self.config_init, "trainer")
            check_options(options, self.subcommand)
            check_callbacks(_as_list(options["callbacks"]), self.subcommand)
        except ValueError as error:
            raise ValueError(one_line(str(error))) from error
        self.datamodule = self._get(self.config_init, "data")
        self.model = self._get(self.config_init, "model")
        if self.subcommand == "fit" and self.model.refinement.epochs:
            refined_task(self.model.model)
        if str(options["precision"]) in ("64", "64-true"):
            self.model.double()  # Lightning does it only after a checkpoint is loaded, which would be rounded
        if checkpoint := self.arguments.checkpoint:
            content = self.checkpoint_io.look_into(checkpoint)
            fitting_weights(content, checkpoint, self.model)  # Lightning loads them; errors come before any work
            self.continued = {name: content.get(name) for name in self.continued}
        elif self.subcommand == "fit":
            self.model.start.check(self.model.model)
        if self.samples:
            self.samples.create()
        if self.subcommand:
            self._open_data()
        self.run_directory = self._choose_run_directory()
        self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Trainer whose loggers, checkpoints and results share one run directory."""
        run = self.run_directory
        options: dict[str, Any] = {**self._get(self.config_init, "trainer"), **kwargs}
        callbacks = _as_list(options["callbacks"])
        if options["enable_progress_bar"] is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
            callbacks.append(progress_bar())
        if self.subcommand:
            callbacks += [Threads(self._threads(options["deterministic"])), self.requeue]
        loggers = [logger for logger in _as_list(options["logger"]) if not isinstance(logger, bool)]
        if self.subcommand in ("fit", None) and not options["fast_dev_run"]:
            place = {"save_dir": str(run.parent.parent), "name": run.parent.name, "version": run.name}
            if options["logger"] is not False:
                board = MetricsBoard(**place, default_hp_metric=False, purge_step=self.continued["global_step"])
                loggers = [MetricsTable(**place, keep=self.continued.get("metrics_rows")), board, *loggers]
            callbacks.append(RunConfig(self.text))
            if options["enable_checkpointing"] is not False:
                callbacks = [*best_and_last(run / "ckpts"), *callbacks]
        else:
            options["enable_checkpointing"] = False
        options |= {"default_root_dir": str(run), "callbacks": callbacks, "logger": loggers or False}
        options["plugins"] = [*_as_list(options["plugins"]), self.checkpoint_io]
        try:
            return Trainer(**options)
        except (MisconfigurationException, TypeError, ValueError) as error:
            given = ", ".join(f"{name} {options[name]}" for name in ("accelerator", "strategy", "devices", "precision"))
            raise ValueError(f"trainer ({given}): {error}") from error

    def fit(self, model: LightningModule, datamodule: LightningDataModule, ckpt_path: str | None = None) -> None:
        """Trains, then tests the best checkpoint, or the last one if there was no validation."""
        say(f"run directory: {self.run_directory}")
        place = None
        try:
            self.trainer.fit(model, datamodule, ckpt_path=ckpt_path)
            if self.trainer.fast_dev_run:
                return
            checkpoint = self._checkpoint_to_test()
            seed = self._get(self.config_init, "seed_everything")
            bars = sys.stdout.isatty() and self._get(self.config_init, "trainer").enable_progress_bar is not False
            place = "the second phase"
            self.requeue.end_at_signal(self.trainer)
            second_phase(self.trainer, model, datamodule, checkpoint, self.checkpoint_io, seed, bars)
        except (KeyboardInterrupt, SystemExit) as stop:
            self._say_how_to_continue(place or f"epoch {self.trainer.current_epoch + 1}")
            raise SystemExit(143 if getattr(stop, "code", None) == 143 else 130) from None
        self._say_if_the_time_was_up()
        if datamodule.test_dir is None:
            say("not tested: data.test_dir is not set")
        elif self.trainer.limit_test_batches == 0:
            say("not tested: trainer.limit_test_batches is 0")
        else:
            self.test(model, datamodule, checkpoint)
        self._say_what_was_written()

    def validate(self, model: LightningModule, datamodule: LightningDataModule, ckpt_path: str | None = None) -> None:
        """Prints loss and metrics of a checkpoint."""
        (metrics,) = self.trainer.validate(model, datamodule, ckpt_path=ckpt_path, verbose=False)
        _say_metrics(metrics)

    def test(self, model: LightningModule, datamodule: LightningDataModule, ckpt_path: str | None = None) -> None:
        """Tests a checkpoint; `hitpool.evaluation.TestReport` prints the results, without it there are the metrics."""
        (metrics,) = self.trainer.test(model, datamodule, ckpt_path=ckpt_path, verbose=False)
        if not reports_test(self.trainer.callbacks):
            _say_metrics(metrics)
            say("for the table of results, put hitpool.evaluation.TestReport into trainer.callbacks")

    def predict(self, model: LightningModule, datamodule: LightningDataModule, ckpt_path: str | None = None) -> None:
        """Predicts with a checkpoint; `hitpool.evaluation.PredictionWriter` writes the results."""
        self.trainer.predict(model, datamodule, ckpt_path=ckpt_path, return_predictions=False)

    def _checkpoint_to_test(self) -> Path | None:
        """The best checkpoint of a training, or the last; None for the weights in memory."""
        if not self.trainer.checkpoint_callback:
            say("no checkpoints were written: testing the weights at the end of the training")
            return None
        folder = Path(self.trainer.checkpoint_callback.dirpath)
        if (folder / "best.ckpt").is_file():
            return folder / "best.ckpt"
        if (folder / "last.ckpt").is_file():
            say("there was no validation, so there is no best.ckpt: testing last.ckpt")
            return folder / "last.ckpt"
        say("nothing was trained: testing the weights as they are")
        return None

    def _has_begun(self) -> bool:
        """Whether a step was trained."""
        return getattr(self, "trainer", None) is not None and self.trainer.global_step > 0

    def _open_data(self) -> None:
        """Opens what the subcommand will read, the test events of a training too, before there is a run directory."""
        self.datamodule.setup(self.subcommand)
        if self.subcommand == "fit" and self.datamodule.test_dir is not None:
            self.datamodule.dataset("test")
        if self.subcommand != "predict":
            for field in self._inverse_fields():
                self.datamodule.check_positive(field)
        if rank_zero_only.rank == 0:
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

    def _choose_run_directory(self) -> Path:
        """The run directory of the checkpoint, or a new one; only the first process writes into it."""
        run, folder = self.arguments.run, self.arguments.folder
        fast = self._get(self.config_init, "trainer").fast_dev_run
        if self.subcommand is None or rank_zero_only.rank != 0 or fast:
            return run or runs.following(folder)
        for other in runs.versions(folder):
            remove_left_lock(other)
        new = run is None
        if new:
            run = self.held.enter_context(runs.new(folder, self._has_begun))
        if self.subcommand == "fit":
            self.held.enter_context(alone(run))
            if new:
                RunConfig(self.text).write(run)
        return run

    def _threads(self, deterministic: bool | str | None) -> int | None:
        """The fixed number of threads, or None if it may be chosen and changed."""
        number = self._get(self.config_init, "threads")
        return available_cores() if number is None and deterministic else number

    def _say_if_the_time_was_up(self) -> None:
        left = [timer.time_remaining() for timer in self.trainer.callbacks if isinstance(timer, Timer)]
        if self.trainer.should_stop and any(seconds is not None and seconds <= 0 for seconds in left):
            say("the time limit was reached: --ckpt_path last goes on from here with a longer one (--trainer.max_time)")

    def _say_how_to_continue(self, place: str) -> None:
        place = f"stopped in {place}"
        if self.arguments.checkpoint is None and runs.checkpoint(self.run_directory, "last") is None:
            say(f"{place}, before the first checkpoint")
            return
        folder = self.arguments.folder
        runs_option = [] if folder.parent == Path("runs") else ["--runs", str(folder.parent)]
        command = ["hitpool", "fit", *runs_option, "--name", folder.name, "--ckpt_path", "last"]
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


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def run(arguments: Arguments) -> None:
    """Runs a subcommand."""
    for line in arguments.translation:
        say(line, sys.stderr)
    checkpoint_io = AtomicCheckpointIO()
    if checkpoint := arguments.checkpoint:
        check_of_training(checkpoint_io.look_into(checkpoint), checkpoint, to_go_on=arguments.subcommand == "fit")
    if arguments.notice:
        say(arguments.notice)
    try:
        with ExitStack() as held:
            TrainingCLI(arguments, held, checkpoint_io)
    except SystemExit as stop:
        if stop.code == 1 and isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's way of handling Ctrl-C
            raise KeyboardInterrupt from None
        raise
