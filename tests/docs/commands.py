"""Reads arguments of `hitpool`, a command a line, and runs them (`run`) or looks whether they exist (`check`).

One process for all of them, because the start takes longer than most commands.
"""

import contextlib
import io
import shlex
import sys

from hitpool.cli import main

TRAINING = ("fit", "validate", "test", "predict")


def check(arguments: list[str]) -> None:
    """Ends with an error if there is no such option or, for a training, no such value."""
    if any(argument.startswith(("--help", "--version", "--print_config")) for argument in arguments):
        shown(arguments)
    elif arguments[0] in TRAINING:
        shown([*arguments, "--print_config"])
    else:
        command = arguments[:2] if arguments[0] in ("data", "config") else arguments[:1]
        known = shown([*command, "--help"]).replace("[", " ").replace("]", " ").split()
        unknown = [option for option in arguments if option.startswith("--") and option not in known]
        if unknown:
            sys.exit(f"hitpool {' '.join(command)} has no option {', '.join(unknown)}")


def shown(arguments: list[str]) -> str:
    """What a command prints that ends the process with success."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            main(arguments)
    except SystemExit as end:
        if end.code:
            raise
    return output.getvalue()


for number, line in enumerate(sys.stdin, 1):
    print(f"{number} $ hitpool {line}", file=sys.stderr)
    {"check": check, "run": main}[sys.argv[1]](shlex.split(line))
