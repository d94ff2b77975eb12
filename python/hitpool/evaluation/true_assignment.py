"""What a model estimates when it is given the true hits of each track."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CERTAIN = 20.0  # logit of a hit of the track; its negative for the others


class TrueAssignment:
    """Runs the regression of a model again, with the true assignment in place of the logits.

    Queries and encoded hits are those of the model: only what is pooled changes.

    Args:
        network: Model of the `hitpool.nn.MaskFormer` interface.
        task: Task of it that reads assignment logits.
    """

    def __init__(self, network: nn.Module, task: nn.Module) -> None:
        self.network = network
        self.task = task
        self._hook = task.register_forward_pre_hook(self._keep, with_kwargs=True)
        self._x: dict[str, Any] = {}
        self._outputs: dict[str, dict[str, Tensor]] = {}

    def close(self) -> None:
        """Leaves the model as it was."""
        self._hook.remove()

    def _keep(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._x, self._outputs = args[0], kwargs["outputs"]  # the last call is that of the final layer

    @torch.no_grad()
    def predict(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Predictions for the batch that went through the model last.

        Args:
            targets: Its targets.

        Returns:
            Predictions of the task; slot i belongs to true object i.
        """
        pair = self.network.pair("final", self._outputs, targets)  # [B, N]
        queries = f"{self.task.input_object}_embed"
        event = torch.arange(len(pair), device=pair.device).unsqueeze(-1)  # [B, 1]
        belongs = targets[f"{self.network.target_object}_{self.task.input_hit}_valid"]  # [B, N, M]
        logits = torch.where(belongs, CERTAIN, -CERTAIN)
        x = {**self._x, queries: self._x[queries][event, pair]}
        return self.task.predict(self.task(x, outputs={"truth": {self.task.logit_key: logits}}))
