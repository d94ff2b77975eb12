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
    """Ends with an error if there is no such option, or for a training no such value."""
    if any(argument.startswith(("--help", "--version", "--print_config")) for argument in arguments):
        main(arguments)
    elif arguments[0] in TRAINING:
        main([*arguments, "--print_config"])
    else:
        command = arguments[:2] if arguments[0] == "data" else arguments[:1]
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            main([*command, "--help"])
        known = shown.getvalue().replace("[", " ").replace("]", " ").split()
        unknown = [option for option in arguments if option.startswith("--") and option not in known]
        if unknown:
            sys.exit(f"hitpool {' '.join(command)} has no option {', '.join(unknown)}")


for line in sys.stdin:
    print(f"$ hitpool {line}", file=sys.stderr)
    {"check": check, "run": main}[sys.argv[1]](shlex.split(line))
