"""The command `hitpool evaluate`; what it needs besides its options is imported when it works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from jsonargparse.typing import PositiveInt

from hitpool.configuration.checkpoint_option import add_checkpoint_options, take_checkpoint
from hitpool.configuration.trust import OPTION
from hitpool.parser import ArgumentParser

REFERENCES_HELP = (
    "What the names of another estimate's track columns start with, such as kalman_; several are shown side by side, "
    "and residuals compared to those of the first one."
)
RUNS_HELP = "Further runs (their best.ckpt) or checkpoints, also of one run, to show side by side on the same tracks."
REFIT_HELP = (
    "Let ACTS's Kalman filter fit the hits that the model assigns to each track, and show its results too; for data "
    "sets of 'hitpool acts', and not with --compare."
)


def command(options: list[str]) -> Callable[[], None]:
    """Prepares `hitpool evaluate`.

    Args:
        options: Arguments after `evaluate`.

    Returns:
        The command, to be called.
    """
    description = (evaluate.__doc__ or "").partition("\n    Args:")[0]
    parser = ArgumentParser(prog="hitpool evaluate", description=description)
    add_checkpoint_options(parser)
    skipped: set[str | int] = {"checkpoint", "references", "runs", "trust", "refit"}
    parser.add_function_arguments(evaluate, as_group=False, skip=skipped)
    parser.add_argument("--trust", **OPTION)
    parser.add_argument("--reference", nargs="+", default=[], metavar="PREFIX", help=REFERENCES_HELP)
    parser.add_argument("--refit", action="store_true", help=REFIT_HELP)
    parser.add_argument("--compare", nargs="+", type=Path, default=[], metavar="RUN", help=RUNS_HELP)
    arguments = parser.parse_args(options)
    import hitpool.evaluation.measurement  # noqa: F401

    checkpoint = take_checkpoint(arguments)
    runs, references = arguments.pop("compare"), arguments.pop("reference")
    return partial(evaluate, checkpoint, runs=runs, references=references, **arguments.as_dict())


def evaluate(
    checkpoint: Path,
    data: Path | None = None,
    references: Sequence[str] = (),
    output: Path | None = None,
    label: str | None = None,
    threads: PositiveInt | None = None,
    runs: Sequence[Path] = (),
    trust: bool = False,
    hit_eval: Path | None = None,
    refit: bool = False,
) -> None:
    """Measure a trained model on a data set, alone or against other estimates of the same tracks.

    It prints the table of the test; how good q/pT, eta, phi and charge are, of the model as it is and with the true
    hits of each track, in units of the physical limit for events of `hitpool simulate`; and the same in bins of pT and
    |eta|. With a reference, its track columns <reference>pt, <reference>eta, <reference>phi, <reference>q, as far as
    they exist, stand beside the model, with the errors <reference>sigma_qpt and so on, and the table of the test is
    left out. If all its tracks are in a file of its name beside the data (ckf.h5 of ckf_), the track finding of both is
    compared by hits, too: efficiency, fakes, duplicates, parameters of what they found, and time; and beside the true
    hits stands what the model makes of the hits of those tracks.

    Args:
        checkpoint: Checkpoint of a training.
        data: Folder of the data set; by default the test data of the training.
        references: What the names of the track columns of each reference start with, such as kalman_; residuals are
            compared to those of the first one.
        output: Folder for tables and plots; by default `evaluation` in the run directory.
        label: Words above the plots; by default those of the configuration with its test data, else the name of the
            data set.
        threads: Threads on CPU; by default it tries now and then which number is fastest.
        runs: Run directories or checkpoints of further models; the models are then shown without the table of the test
            and without the true hits.
        trust: Let the configurations of the checkpoints name classes of anybody.
        hit_eval: File of a hit filter's results for the events; by default the one that the training has for this data
            set, if any.
        refit: Whether ACTS's Kalman filter fits the hits of each track, too.

    Raises:
        FileNotFoundError: If a checkpoint, its configuration or the data do not exist.
        ModuleNotFoundError: If a fit by ACTS is wanted, and it is not installed.
        ValueError: If the data have no such reference, or nothing can be compared or fitted.
    """
    from hitpool.evaluation.measurement import measure

    measure(checkpoint, data, references, output, label, threads, runs, trust, hit_eval, refit)
