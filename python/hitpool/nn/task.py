"""What a network and its training ask of a task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

Tensors = dict[str, Tensor]


class Task(Protocol):
    """A module that makes one kind of prediction; `hitpool.tasks.Task` says what each member means."""

    name: str
    dim: int
    has_intermediate_loss: bool
    __call__: Callable[..., Tensors]  # `forward`

    @property
    def outputs(self) -> Sequence[str]: ...

    @property
    def required_outputs(self) -> Sequence[str]: ...

    @property
    def revises(self) -> Sequence[str]: ...

    @property
    def gives_queries(self) -> bool: ...

    @property
    def guides_decoder(self) -> bool: ...

    @property
    def late_part(self) -> nn.Module | None: ...

    def forward(self, x: dict[str, Any], outputs: dict[str, Tensors] | None = None) -> Tensors: ...

    def predict(self, outputs: Tensors, query_mask: Tensor | None = None) -> Tensors: ...

    def loss(self, outputs: Tensors, targets: Tensors, layer_outputs: Mapping[str, Any] | None = None) -> Tensors: ...

    def cost(self, outputs: Tensors, targets: Tensors) -> Tensors: ...

    def metrics(self, preds: Tensors, targets: Tensors) -> Tensors: ...

    def attn_mask(self, outputs: Tensors) -> Tensors: ...

    def query_mask(self, outputs: Tensors) -> Tensor | None: ...

    def should_run_at_layer(self, layer_index: int) -> bool: ...

    def fit_standardization(self, values: Tensors) -> None: ...
