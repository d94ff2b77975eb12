"""Regression on a model that is taken from a checkpoint and stays as it is."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hitpool.tasks.checkpoint_file import CheckpointError, differences, listed, read_weights
from hitpool.tasks.weighted_pooling import WeightedPoolingObjectHitRegressionTask


class FrozenEncoderRegressionTask(WeightedPoolingObjectHitRegressionTask):
    """`WeightedPoolingObjectHitRegressionTask` that is trained on a model whose other parts are trained already.

    Before the training, every part of the model that the checkpoint names is taken from it: input networks, encoder,
    decoder, and the other tasks by their place in the list. Frozen parts must be in the checkpoint. They get no
    gradients, no losses and no dropout. The training must call `load_frozen_parts`, as `hitpool fit` does; a training
    that is continued has the parts in its own checkpoint.

    Args:
        name: Key of its outputs, losses and predictions.
        input_hit: Kind of hits.
        checkpoint_path: Checkpoint of a model with the same input networks and encoder, with or without this task.
        freeze_all: Freeze everything but this task, not only input networks and encoder.
        **kwargs: Further arguments of `WeightedPoolingObjectHitRegressionTask`.
    """

    parts_loaded: Tensor

    def __init__(
        self,
        name: str,
        input_hit: str | None = None,
        *,
        checkpoint_path: str,
        freeze_all: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, input_hit, **kwargs)
        self.checkpoint_path = checkpoint_path
        self.freeze_all = freeze_all
        self.register_buffer("parts_loaded", torch.tensor(False))

    def frozen_parts(self, model: nn.Module) -> list[nn.Module]:
        if not self.freeze_all:
            return [model.input_nets, model.encoder]
        others = [task for task in model.tasks if not isinstance(task, FrozenEncoderRegressionTask)]
        return [model.input_nets, model.encoder, model.decoder, *others]

    def loss(self, outputs: dict[str, Tensor], *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """See `RegressionTask.loss`.

        Raises:
            RuntimeError: `load_frozen_parts` was not called.
        """
        if not self.parts_loaded:
            raise RuntimeError(
                f"task {self.name}: the frozen parts of the model were not loaded from {self.checkpoint_path}; train "
                "with hitpool fit, or call load_frozen_parts(model) before the training"
            )
        return super().loss(outputs, *args, **kwargs)

    def load_frozen_parts(self, model: nn.Module, weights: dict[str, Tensor] | None = None) -> str:
        """Takes the parts of a model that the checkpoint names from it.

        Args:
            model: `hitpool.nn.MaskFormer` with this task; it is left as it is if something does not fit.
            weights: What `read_weights` gave of the checkpoint, if it was read before.

        Returns:
            What was taken, in one line.

        Raises:
            FileNotFoundError: The checkpoint does not exist.
            CheckpointError: It cannot be read, lacks a frozen part, or a part in it does not fit that of the model.
        """
        parts: dict[str, nn.Module] = {
            "input_nets": model.input_nets,
            "encoder": model.encoder,
            "decoder": model.decoder,
        }
        parts |= {
            f"tasks.{index}": task
            for index, task in enumerate(model.tasks)
            if not isinstance(task, FrozenEncoderRegressionTask)
        }
        weights = read_weights(self.checkpoint_path) if weights is None else weights
        stored = {key.removeprefix("model."): value for key, value in weights.items()}
        stored = {key: value for key, value in stored.items() if not key.startswith("decoder.tasks.")}
        frozen = {id(part) for part in self.frozen_parts(model)}
        taken: dict[str, dict[str, Tensor]] = {}
        problems: list[str] = []
        for name, part in parts.items():
            found = {key.removeprefix(f"{name}."): v for key, v in stored.items() if key.startswith(f"{name}.")}
            if found or id(part) in frozen:
                taken[name] = found
                problems += differences(found, part.state_dict(), f"{name}.")
        if problems:
            raise CheckpointError(
                f"task {self.name}: the model does not fit the checkpoint {self.checkpoint_path}: {listed(problems)}. "
                "It must be of a hitpool training with the same networks; of hepattn's only the pooled regression can "
                "be used, with --model.regression_checkpoint"
            )
        for name, found in taken.items():
            parts[name].load_state_dict(found)
        self.parts_loaded.fill_(True)
        left = [name for name in parts if name not in taken]
        return (
            f"task {self.name}: {', '.join(taken)} from {Path(self.checkpoint_path)}"
            f"{'; not in it: ' + ', '.join(left) if left else ''}; frozen: "
            f"{', '.join(name for name, part in parts.items() if id(part) in frozen)}"
        )
