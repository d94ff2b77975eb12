"""The command `hitpool`."""

import inspect
import logging
import os
import re
import signal
import sys
import threading
import warnings
from argparse import ArgumentError
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from hitpool.parser import ArgumentParser

HELP = """\
usage: hitpool <command> [options]

Track parameters from transformers: pooling of detector hits by their assignment probability.

commands:
  fit         train a model and test its best checkpoint; simulates events if no data are given
  validate    measure a checkpoint on the validation events
  test        measure a checkpoint on the test events and print the table of results
  predict     write the predictions of a checkpoint as a table, in HDF5, Parquet or ROOT
  init        look at a data set and write a first configuration for it
  simulate    write a data set of simulated muon events
  acts        write a data set in the generic inner detector of ACTS, with its Kalman filter and track finding
  evaluate    measure checkpoints on any data set, beside other estimates of the same tracks and the physical limit
  compare     show the tests of several runs side by side
  show        draw an event of a data set, with a checkpoint also what its model assigns
  export      write a trained model for use without Python
  data        look at a data set, or make one from ROOT files (data inspect, data convert)
  config      packaged configurations (config list, config show)
  completion  print the script by which a shell completes commands and options

hitpool <command> --help lists the options of a command. 'hitpool fit' needs none; a quick look on few events:
  hitpool fit --name quick --simulate.folder data-quick --trainer.max_epochs 1 \\
    --simulate.train 200 --simulate.val 50 --simulate.test 50

options:
  -h, --help      show this text
  --version       show the version
  --cmake-prefix  show where CMake finds hitpool, for C++ programs: the value of CMAKE_PREFIX_PATH
  --debug         with any command: show the traceback of an error, as HITPOOL_DEBUG=1 does
"""

DATA_HELP = """\
usage: hitpool data <command> [options]

commands:
  inspect   show events, columns, truth and defects of a data set
  convert   make a data set from ROOT ntuples

hitpool data <command> --help lists the options of a command.
"""

CONFIG_HELP = """\
usage: hitpool config <command>

commands:
  list   names of the packaged configurations, and what they are
  show   print one of them with its comments: hitpool config show muon.yaml > mine.yaml
"""

HELP_OF_PARTS = {"data": DATA_HELP, "config": CONFIG_HELP}
PARTS = {
    ("data", "inspect"): ("hitpool.inspection.command", "run"),
    ("data", "convert"): ("hitpool.conversion.command", "run"),
    ("config", "list"): ("hitpool.configuration.command", "list_all"),
    ("config", "show"): ("hitpool.configuration.command", "show"),
}

EXPECTED = (
    ".*does not have many workers.*",  # a batch is read at once, worker processes would only cost memory
    ".*exists and is not empty.*",  # a run continues in its directory
    ".*smaller than the logging interval.*",  # every epoch is logged in any case
    ".*callbacks used to create the checkpoint.*",  # of the training, not needed to test
    ".*but have no logger configured.*",
    ".*in eval mode at the start of training.*",  # frozen parts
    ".*overridden `on_before_batch_transfer`.*",  # the data module has none
    ".*resuming from a checkpoint that ended before the epoch ended.*",  # the sampler goes on there
    ".*LeafSpec.*",  # Lightning's use of torch
)

TRAINING = ("fit", "validate", "test", "predict")
PROCESS_NUMBERS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # of a training in several processes


def export(
    checkpoint: Path,
    output: Path,
    format: Literal["aoti", "onnx", "torchscript", "export"] | None = None,
    layout: Literal["athena"] | None = None,
    events: Path | None = None,
    trust: bool = False,
) -> None:
    """Write a trained model for use without Python, from hits as on disk to track parameters.

    Hits and results are float32; in between it computes in the precision of the training, float64 after
    trainer.precision 64-true, else float32. The file is compared with the model before it is there; the events of
    this check and their results are written beside it, for a check where it will run.

    Formats: aoti (.pt2), compiled for AVX2, the fastest in C++ and Python with libtorch; onnx (.onnx), for ONNX
    Runtime and Athena, without torch; torchscript (.pt), which torch has deprecated, for programs that read nothing
    else; export (.pt2), for Python and for tools that compile it further. All but onnx need
    `hitpool.library_path()` loaded.

    Args:
        checkpoint: Checkpoint of a training.
        output: File to write.
        format: Kind of file; the suffix of the output says it, .pt2 is aoti.
        layout: Of ONNX: `athena` takes the hits of one event and has an output for each slot and quantity.
        events: Data set for the check; those of the training by default.
        trust: Let the configuration of the checkpoint name classes of anybody.
    """
    from hitpool.export import FORMATS, format_for
    from hitpool.export import export as write

    agreement = write(checkpoint, output, format, events, trust, layout)
    worst = max(agreement.worst.values())
    excused = f", but for {agreement.excused} that rounding alone changes" if agreement.excused else ""
    print(f"compared with the model in {agreement.events} events: differences up to {worst:.1g}{excused}")
    print(
        f"{agreement.exempt} of them were allowed to differ; parameters compared in "
        f"{agreement.slots - agreement.empty} of {agreement.slots} slots, the others are empty"
    )
    kind = format_for(output, format)
    print(f"written to {output}; {kind} is {FORMATS[kind].advice}")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; an error ends it with one line, or with its traceback after `--debug`.

    Ctrl-C ends it with status 130 and a line.

    Args:
        arguments: Arguments after the program name; those of the process if None.
    """
    if arguments is None and sys.getfilesystemencoding() != "utf-8":
        _start_again_in_utf8()
    given = sys.argv[1:] if arguments is None else arguments
    command, *options = [argument for argument in given if argument != "--debug"] or ["--help"]
    signal.signal(signal.SIGTERM, _stop)
    try:
        work = _work(command, options)
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        work()
    except KeyboardInterrupt as stop:
        line = "; ".join(["interrupted", *map(str, stop.args)])
        print(f"{_name(command, options)}: {line}", file=sys.stderr, flush=True)
        sys.exit(130)
    except Exception as error:
        if "--debug" in given or os.environ.get("HITPOOL_DEBUG", "0") not in ("", "0"):
            raise
        _fail(command, options, error)


def _work(command: str, options: list[str]) -> Callable[[], None]:
    """Imports what a command needs, after its options are read: its help needs no torch.

    Returns:
        The command, to be called.
    """
    if command in TRAINING:
        return _training(command, options)
    if command == "init":
        from hitpool.draft.command import run as init

        return partial(init, options)
    if command == "simulate":
        from hitpool.simulation import simulate

        return partial(_simulate, simulate, options)
    if command == "acts":
        from hitpool.acts import acts

        return partial(_call, acts, command, options)
    if command == "evaluate":
        from hitpool.evaluation.command import command as evaluate

        work = evaluate(options)
        _hide_expected_messages()
        return work
    if command == "compare":
        from hitpool.evaluation.compare_command import run as compare

        return partial(compare, options)
    if command == "show":
        from hitpool.show.command import run as show

        return partial(show, options)
    if command == "export":
        return _export(options)
    if command in HELP_OF_PARTS:
        return _part(command, options)
    if command == "completion":
        from hitpool.commands.completion import run

        whole = [(name,) for name in _commands(HELP) if name not in HELP_OF_PARTS]
        return partial(run, options, _work, [*whole, *PARTS])
    if command in ("-h", "--help"):
        return partial(print, HELP, end="")
    if command == "--version":
        from hitpool import __version__

        return partial(print, f"hitpool {__version__}")
    if command == "--cmake-prefix":
        from hitpool._cmake import cmake_prefix

        return partial(print, cmake_prefix())
    raise _unknown_command(command, HELP)


def _training(command: str, options: list[str]) -> Callable[[], None]:
    if "-h" in options or "--help" in options:
        from hitpool.commands.help import overview

        return partial(print, overview(command), end="")
    if not any(option.startswith(("--help", "--print_config")) for option in options) and _process() == "0":
        from hitpool import __version__

        print(f"hitpool {__version__}: {command}, loading PyTorch", flush=True)
    import hitpool.commands.training  # noqa: F401

    _hide_expected_messages()
    return partial(_train, command, options)


def _train(command: str, options: list[str]) -> None:
    from hitpool.commands.help import of_part
    from hitpool.commands.training import run
    from hitpool.configuration.command_line import configuration, interpret
    from hitpool.configuration.resolving import refuse_unknown_options
    from hitpool.training.checkpoints import AtomicCheckpointIO

    if parts := [option.removeprefix("--help=") for option in options if option.startswith("--help=")]:
        print(of_part(parts[0], configuration(options)), end="")
        return
    options = ["--help" if option == "--help_all" else option for option in options]
    refuse_unknown_options(command, options)
    checkpoint_io = AtomicCheckpointIO()
    run(interpret(command, options, look_into=checkpoint_io.look_into), checkpoint_io)


def _export(options: list[str]) -> Callable[[], None]:
    from hitpool.configuration.checkpoint_option import add_checkpoint_options, take_checkpoint
    from hitpool.configuration.trust import OPTION

    parser = _parser(export, "export", skip=("checkpoint", "trust"))
    add_checkpoint_options(parser)
    parser.add_argument("--trust", **OPTION)
    arguments = parser.parse_args(options)
    import hitpool.export  # noqa: F401

    _hide_expected_messages()
    return partial(export, take_checkpoint(arguments), **arguments.as_dict())


def _part(command: str, options: list[str]) -> Callable[[], None]:
    """Imports what a command of several parts needs."""
    part, *rest = options or ["--help"]
    if part in ("-h", "--help"):
        return partial(print, HELP_OF_PARTS[command], end="")
    if (command, part) not in PARTS:
        raise _unknown_command(part, HELP_OF_PARTS[command])
    module, function = PARTS[command, part]
    return partial(getattr(import_module(module), function), rest)


def _call(function: Callable[..., None], command: str, options: list[str]) -> None:
    function(**_parser(function, command).parse_args(options).as_dict())


def _simulate(function: Callable[..., None], options: list[str]) -> None:
    parser = _parser(function, "simulate", skip=("processes",))
    workers = "Number of processes; all available cores by default."
    parser.add_argument("--workers", "--processes", dest="processes", type=int | None, default=None, help=workers)
    function(**parser.parse_args(options).as_dict())


def _parser(function: Callable[..., None], command: str, skip: tuple[str, ...] = ()) -> "ArgumentParser":
    """Parser of a command whose options are the arguments of a function."""
    from hitpool.parser import ArgumentParser

    description = (inspect.getdoc(function) or "").partition("\nArgs:")[0]
    parser = ArgumentParser(prog=f"hitpool {command}", description=description)
    parser.add_function_arguments(function, as_group=False, fail_untyped=False, skip=set(skip))
    return parser


def _commands(text: str) -> list[str]:
    return re.findall(r"^  ([a-z]+)  ", text, re.MULTILINE)


def _name(command: str, options: list[str]) -> str:
    """What messages begin with."""
    name = f"hitpool {command}" if command in _commands(HELP) else "hitpool"
    return f"{name} {options[0]}" if (command, *options[:1]) in PARTS else name


def _unknown_command(command: str, text: str) -> ArgumentError:
    from hitpool.data.names import suggestion

    known = _commands(text)
    near = suggestion(command, known)
    return ArgumentError(None, f"there is no command '{command}'{near}; the commands are {', '.join(known)}")


def _fail(command: str, options: list[str], error: Exception) -> NoReturn:
    """Ends with a line that says what is wrong."""
    from hitpool.failure import FAILED, WRONG_USAGE, explain

    line, status = explain(error)
    name = _name(command, options)
    if re.search(r"there is no option (?!.*did you mean)|missing: ", line) and status == WRONG_USAGE:
        line += f"; '{name} --help' lists the options"
    if (process := _process()) != "0":
        name += f" (process {process})"
    if status == FAILED:
        sys.exit(f"{name}: {line}")
    print(f"{name}: {line}", file=sys.stderr, flush=True)
    sys.exit(status)


def _process() -> str:
    """Number of this process among those of a training."""
    return next((os.environ[key] for key in PROCESS_NUMBERS if key in os.environ), "0")


def _hide_expected_messages() -> None:
    import lightning.pytorch  # noqa: F401  (it sets the levels when it is imported)

    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for message in EXPECTED:
        warnings.filterwarnings("ignore", message=message)
    threading.excepthook = _report


def _report(thread: threading.ExceptHookArgs) -> None:
    """Leaves out the traceback of TensorBoard's writer: what it raises is raised again where metrics are logged."""
    if "tensorboard" not in type(thread.thread).__module__:
        threading.__excepthook__(thread)


def _start_again_in_utf8() -> NoReturn:
    """Names, files and messages are in UTF-8 whatever the locale is; Python chooses that when it starts."""
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, sys.orig_argv)


def _stop(signum: int, frame: FrameType | None) -> None:
    """Ends like Ctrl-C at a SIGTERM, so that files are closed and progress bars end."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    from hitpool_command import main as start

    start()
