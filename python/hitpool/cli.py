"""The command `hitpool`."""

import sys
from pathlib import Path
from typing import Literal

HELP = """\
usage: hitpool <command> [options]

Track parameters from transformers: pooling of detector hits by their assignment probability.

commands:
  fit        train a model and test its best checkpoint; simulates events if no data are given
  validate   measure a checkpoint on the validation events
  test       measure a checkpoint on the test events and print the table of results
  predict    write the predictions of a checkpoint to HDF5
  simulate   write a data set of simulated muon events
  export     write a trained model for use without Python

hitpool <command> --help lists the options of a command. 'hitpool fit' needs none; a quick look on few events:
  hitpool fit --name quick --simulate.folder data-quick --trainer.max_epochs 1 \\
    --simulate.train 200 --simulate.val 50 --simulate.test 50

options:
  -h, --help   show this text
  --version    show the version
"""

TRAINING = ("fit", "validate", "test", "predict")


def export(checkpoint: Path, output: Path, format: Literal["torchscript"] = "torchscript") -> None:
    """Write a trained model for use without Python, from hits as on disk to track parameters.

    Args:
        checkpoint: Checkpoint in the folder `ckpts` of a run directory.
        output: File to write.
        format: Kind of file; `torchscript` needs `hitpool.library_path()` loaded.
    """
    from hitpool.export.torchscript import export as export_torchscript

    export_torchscript(checkpoint, output)
    print(f"written to {output}")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
        arguments: Arguments after the program name; those of the process if None.
    """
    command, *options = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in TRAINING:
        _train(command, options)
    elif command == "simulate":
        from hitpool.simulation import simulate

        _call(simulate, command, options)
    elif command == "export":
        _call(export, command, options)
    elif command in ("-h", "--help"):
        print(HELP, end="")
    elif command == "--version":
        from hitpool import __version__

        print(f"hitpool {__version__}")
    else:
        sys.exit(f"hitpool: there is no command '{command}'\n\n{HELP}")


def _train(command: str, options: list[str]) -> None:
    from hitpool.training.arguments import interpret

    try:
        arguments = interpret(command, options)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"hitpool {command}: {error}")
    from hitpool.training.interface import run

    run(arguments)


def _call(function: object, command: str, options: list[str]) -> None:
    from jsonargparse import auto_cli

    auto_cli(function, args=options, as_positional=False, prog=f"hitpool {command}", fail_untyped=False)


if __name__ == "__main__":
    main()
