"""The configuration that a run directory and its checkpoints hold."""

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from hitpool import __version__
from hitpool.configuration.earlier import update
from hitpool.configuration.files import read
from hitpool.files import write_text
from hitpool.training import runs
from hitpool.training.loggers import MetricsBoard, MetricsTable
from hitpool.weights import CheckpointError

KEY = "hitpool_configuration"  # in a checkpoint


class RunConfig(Callback):
    """Writes the resolved configuration into the run directory, and into each checkpoint.

    Args:
        config: The configuration.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes `config.yaml` when nothing is left that could keep the training from starting, and tells loggers."""
        if trainer.is_global_zero:
            self.write(Path(trainer.default_root_dir))
        for logger in trainer.loggers:
            if not isinstance(logger, MetricsTable | MetricsBoard):
                logger.log_hyperparams(_flat(self.config))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the configuration to a checkpoint, which is then complete without its run directory."""
        checkpoint[KEY] = self.config

    def write(self, run: Path) -> None:
        """Writes `config.yaml` into `run`."""
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        write_text(run / "config.yaml", f"# hitpool {__version__}\n{text}")


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    """Values of a configuration by their path with dots, into lists of classes too."""
    if isinstance(node, list) and any(isinstance(entry, dict) for entry in node):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return {path: node}
    parts = [_flat(entry, f"{path}.{key}" if path else str(key)) for key, entry in node.items()]
    return {name: value for part in parts for name, value in part.items()}


def of_checkpoint(content: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """The configuration that a checkpoint holds; None if it holds none.

    Args:
        content: What the checkpoint holds.
        path: The file, for messages.

    Raises:
        CheckpointError: If it is no mapping.
    """
    config = content.get(KEY)
    if config is not None and not isinstance(config, dict):
        raise CheckpointError(
            f"checkpoint {path}: {KEY}: expected the sections of a configuration, got {type(config).__name__}"
        )
    update(config)
    return config


def stored_configuration(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The configuration that a checkpoint holds, or that of its run directory.

    Args:
        content: What the checkpoint holds.
        path: The file.

    Raises:
        FileNotFoundError: If there is neither.
        CheckpointError: If that of the checkpoint is no mapping.
        ValueError: If that of the run directory cannot be read.
    """
    config = of_checkpoint(content, path)
    if config is None:
        file = (runs.of_checkpoint(path) or path.absolute().parent.parent) / "config.yaml"
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist, and checkpoint {path} holds no configuration itself")
        config = read(file).content
    return {"name": "hitpool", "trainer": {}, "model": {}, "data": {}} | config
