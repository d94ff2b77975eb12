"""The objects that a configuration describes, without the command line; a trained model from its checkpoint."""

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer


@dataclass
class Objects:
    """What a configuration describes.

    Args:
        model: The LightningModule; `model.model` is the network.
        datamodule: Reads the events.
        trainer: Lightning trainer with loggers and callbacks.
        config: The resolved configuration.
        hit_columns: Columns of the hits on disk that a trained model was trained with, if its checkpoint says so.
    """

    model: "LightningModule"
    datamodule: "LightningDataModule"
    trainer: "Trainer"
    config: dict[str, Any]
    hit_columns: list[str] | None = None


def load(path: str | Path, overrides: dict[str, Any] | None = None) -> Objects:
    """Builds the objects of a configuration, as the command line does, but runs nothing.

    It seeds the random numbers with `seed_everything`, so that a configuration always gives the same weights.
    Configurations of hepattn are read as hitpool's, with a warning for what is not used as it stands.

    Args:
        path: A file, or the name of a packaged configuration. A file with tasks alone changes the tasks of muon.yaml.
        overrides: Dotted paths and their values, e.g. `{"data.batch_size": 50, "model.model.tasks.2.loss_weight": 2}`.

    Raises:
        FileNotFoundError: If the configuration does not exist.
        ValueError: If it has unknown keys, wrong values or parts that do not fit together.
    """
    from hitpool.training.arguments import interpret
    from hitpool.training.interface import TrainingCLI

    arguments = interpret(None, [f"--config={path}"], overrides)
    for line in arguments.translation:
        warnings.warn(line, stacklevel=2)
    cli = TrainingCLI(arguments, ExitStack())
    return Objects(cli.model, cli.datamodule, cli.trainer, cli.settings)


def load_checkpoint(checkpoint: str | Path) -> Objects:
    """Rebuilds a trained model from a checkpoint and the `config.yaml` of its run directory.

    Args:
        checkpoint: A file in the folder `ckpts` of a run directory.

    Returns:
        As `load`, with the weights of the checkpoint and the model in evaluation mode.

    Raises:
        FileNotFoundError: If the checkpoint or its configuration does not exist.
        CheckpointError: If the checkpoint cannot be read, or does not fit the configuration.
    """
    from hitpool.weights import fitting_weights, read_checkpoint

    checkpoint = Path(checkpoint)
    stored = checkpoint.absolute().parent.parent / "config.yaml"
    for file in (checkpoint, stored):
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist; expected <run>/config.yaml and <run>/ckpts/<name>.ckpt")
    objects = load(stored)
    content = read_checkpoint(checkpoint)
    objects.model.load_state_dict(fitting_weights(content, checkpoint, objects.model))
    objects.model.eval()
    objects.hit_columns = content.get(type(objects.datamodule).__qualname__, {}).get("hit_columns")
    return objects
