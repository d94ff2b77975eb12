"""Which checkpoint a command uses: a file, or that of the most recent run of a name."""

from pathlib import Path

from jsonargparse import Namespace

from hitpool.parser import ArgumentParser


def add_checkpoint_options(parser: ArgumentParser) -> None:
    """Adds `--checkpoint`, `--name` and `--runs`, which mean the same for every command.

    Args:
        parser: Parser of the command.
    """
    use = "File; 'best' and 'last' are those of the most recent run of that name, 'best' by default."
    parser.add_argument("--checkpoint", "--ckpt_path", metavar="FILE", type=str | None, default=None, help=use)
    parser.add_argument("--name", type=str | None, default=None, help="Name of the training, muon if not given.")
    parser.add_argument("--runs", type=str, default="runs", metavar="DIR", help="Folder of all runs.")


def take_checkpoint(arguments: Namespace) -> Path:
    """Finds the checkpoint that the options mean, and says which it is if they name none.

    Args:
        arguments: Parsed options, which loses these three.

    Raises:
        FileNotFoundError: If there is none.
    """
    from hitpool.configuration.command_line import choose_checkpoint
    from hitpool.training.progress import say

    chosen = choose_checkpoint(*(arguments.pop(name) for name in ("checkpoint", "name", "runs")))
    if chosen.notice:
        say(chosen.notice)
    assert chosen.checkpoint is not None
    return chosen.checkpoint
