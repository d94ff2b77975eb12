"""The objects that a configuration describes, without the command line; a trained model from its checkpoint."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from hitpool.data import HitDataModule
    from hitpool.training.module import TrackingModule


@dataclass
class Objects:
    """What a configuration describes.

    Args:
        model: The LightningModule; `model.model` is the network.
        datamodule: Reads the events.
        trainer: Lightning trainer with loggers and callbacks; None for a model that is trained already.
        config: The resolved configuration.
        hit_columns: Columns of the hits on disk that a trained model was trained with, if its checkpoint says so.
        units: Units of the columns of its data set, likewise.
        training_events: Number of events that it was trained with, likewise.
    """

    model: "TrackingModule"
    datamodule: "HitDataModule"
    trainer: "Trainer | None"
    config: dict[str, Any]
    hit_columns: list[str] | None = None
    units: dict[str, str] = field(default_factory=dict)
    training_events: int | None = None


def load(path: str | Path, overrides: dict[str, Any] | None = None) -> Objects:
    """Builds the objects of a configuration, as the command line does, but runs nothing.

    It seeds the random numbers with `seed_everything`, so that a configuration always gives the same weights, and sets
    the process's `matmul_precision`.
    Configurations of hepattn are read as hitpool's, with a warning for what is not used as it stands.

    Args:
        path: A file, or the name of a packaged configuration. A file with tasks alone changes the tasks of muon.yaml.
        overrides: Dotted paths and their values, e.g. `{"data.batch_size": 50, "model.model.tasks.2.loss_weight": 2}`.

    Raises:
        FileNotFoundError: If the configuration does not exist.
        ValueError: If it has unknown keys, wrong values or parts that do not fit together.
    """
    from hitpool import configuration
    from hitpool.training import runs

    arguments = configuration.interpret(None, [f"--config={path}"], overrides)
    config = configuration.resolve(arguments)
    configuration.seed(config)
    configuration.set_matmul_precision(config)
    with arguments.building("model"):
        model = configuration.build_model(config)
    with arguments.building("data"):
        datamodule = configuration.build_data(config)
    for line in arguments.translation:
        warnings.warn(line, stacklevel=2)
    stored = configuration.RunConfig(config)
    trainer = configuration.build_trainer(
        configuration.build_trainer_options(config), runs.following(arguments.folder), stored
    )
    return Objects(model, datamodule, trainer, config)


def load_checkpoint(checkpoint: str | Path, trust: bool = False) -> Objects:
    """Rebuilds a trained model from a checkpoint, without a trainer.

    The configuration is the one in the checkpoint, or `config.yaml` of its run directory if it holds none.

    Args:
        checkpoint: The file.
        trust: Let the configuration name classes that neither hitpool nor torch nor Lightning's callbacks have; their
            code is run.

    Returns:
        As `load`, with the weights of the checkpoint, the model in evaluation mode and no trainer.

    Raises:
        FileNotFoundError: If the checkpoint or its configuration does not exist.
        CheckpointError: If the checkpoint cannot be read, or does not fit the configuration.
        UntrustedError: If the configuration of the model or the data names other classes.
    """
    from hitpool import configuration
    from hitpool.weights import fitting_weights, read_checkpoint

    checkpoint = Path(checkpoint)
    if not checkpoint.is_file():
        raise FileNotFoundError(f"{checkpoint} does not exist; expected a checkpoint, such as <run>/ckpts/best.ckpt")
    content = read_checkpoint(checkpoint)
    config = configuration.stored_configuration(content, checkpoint)
    if not trust:
        configuration.check_trusted({key: config[key] for key in ("model", "data")}, checkpoint)
    model, datamodule = configuration.build_model(config), configuration.build_data(config)
    model.load_state_dict(fitting_weights(content, checkpoint, model))
    data = content.get(type(datamodule).__qualname__, {})
    number = data.get("batches", {}).get("number of training events")
    return Objects(model.eval(), datamodule, None, config, data.get("hit_columns"), data.get("units", {}), number)
