"""What every task is."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hitpool.nn.precision import layer_dtype
from hitpool.nn.shapes import check_shapes


class Task(nn.Module):
    """Part of the model that makes one kind of prediction, with its loss, its matching cost and its metrics.

    Args:
        name: Key of its outputs, losses and predictions.
        dim: Features D of the embeddings that it reads.
        outputs: Names of the tensors [B, N, ...] that `forward` returns and that matching permutes.
        has_intermediate_loss: Run and be scored in front of each decoder layer too.
    """

    def __init__(self, name: str, dim: int, outputs: list[str], has_intermediate_loss: bool) -> None:
        super().__init__()
        self.name = name
        self.dim = dim
        self.required_outputs: list[str] = []  # of tasks that come before this one
        self._outputs = outputs
        self.has_intermediate_loss = has_intermediate_loss

    @property
    def outputs(self) -> list[str]:
        """Names of the tensors [B, N, ...] that `forward` returns and that matching permutes."""
        return self._outputs

    def forward(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        """Outputs of the task.

        Args:
            x: Embeddings `<object>_embed` [B, N, D] and `<input>_embed` [B, M, D], validity `<input>_valid`
                bool [B, M], raw fields `<input>_<field>` [B, M] under `inputs`.
            outputs: Outputs of the tasks that already ran, task -> name -> tensor.

        Returns:
            The tensors named in `outputs`; nothing if the task has nothing to do in this layer.
        """
        raise NotImplementedError

    def predict(self, outputs: dict[str, Tensor], query_mask: Tensor | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """Predictions in physical units from the task's outputs.

        Args:
            outputs: What `forward` returned.
            query_mask: bool [B, N], False at queries that are not in use.
            **kwargs: Ignored.
        """
        raise NotImplementedError

    def loss(
        self, outputs: dict[str, Tensor], targets: dict[str, Tensor], layer_outputs: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """Weighted losses of matched outputs, as 0-dim tensors by name.

        Args:
            outputs: What `forward` returned, slot i belonging to target i.
            targets: Truth of the batch.
            layer_outputs: Outputs of all tasks of the layer.
        """
        raise NotImplementedError

    def cost(self, outputs: dict[str, Tensor], targets: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Weighted matching costs [B, N, N] (event, prediction, target) by name; none by default.

        Args:
            outputs: What `forward` returned.
            targets: Truth of the batch.
            **kwargs: Ignored.
        """
        return {}

    def metrics(self, preds: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Metrics as 0-dim tensors by name, without those that are not defined in the batch; none by default.

        Args:
            preds: What `predict` returned for matched outputs.
            targets: Truth of the batch.
        """
        return {}

    def attn_mask(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Masks bool [B, N, M] by kind of input, True where a query may attend to a hit; none by default.

        Args:
            outputs: What `forward` returned.
        """
        return {}

    def query_mask(self, outputs: dict[str, Tensor]) -> Tensor | None:
        """Mask bool [B, N] of the queries in use; None by default, for all.

        Args:
            outputs: What `forward` returned.
        """
        return None

    def embeddings(self, x: dict[str, Any], name: str) -> Tensor:
        """Embeddings that the task reads, in the type of its layers.

        Args:
            x: As for `forward`.
            name: Objects or hits: reads `<name>_embed`.

        Returns:
            [B, N or M, D].

        Raises:
            ValueError: Their shape is another one.
        """
        embedded = x[f"{name}_embed"]
        check_shapes(f"task {self.name}", {f"{name}_embed": (embedded, "B L D")}, D=self.dim)
        return embedded.to(layer_dtype(self))

    @property
    def revises(self) -> list[str]:
        """Outputs of earlier tasks that it replaces in the final layer; none by default."""
        return []

    @property
    def late_part(self) -> nn.Module | None:
        """What the second phase of a training fits; nothing by default."""
        return None

    def fit_standardization(self, values: dict[str, Tensor]) -> None:
        """Takes what it needs from all targets of a training before that begins; nothing by default.

        Args:
            values: Targets of all training particles [n] in physical units by field.
        """

    @property
    def gives_queries(self) -> bool:
        """Whether it runs before the decoder, and only there, and one of its outputs are the queries."""
        return False

    @property
    def guides_decoder(self) -> bool:
        """Whether the decoder uses a mask of this task, so that it runs in front of the layers without its loss too."""
        return False

    def should_run_at_layer(self, layer_index: int) -> bool:
        """Whether the task runs in front of this decoder layer.

        Args:
            layer_index: Number of the layer, from 0.
        """
        return self.has_intermediate_loss

    def should_permute_outputs(self, layer_name: str, layer_outputs: Mapping[str, Any]) -> bool:
        """Whether matching permutes the task's outputs in a layer, in which it may have skipped its run.

        Args:
            layer_name: `layer_0` ... or `final`.
            layer_outputs: Outputs of all tasks of the layer.
        """
        return bool(layer_outputs.get(self.name))


def check_terms(task: str, kind: str, given: Mapping[str, float], known: Mapping[str, Any]) -> None:
    """Refuse losses or costs that do not exist.

    Args:
        task: Name of the task.
        kind: `losses` or `costs`.
        given: Weights by name.
        known: Functions by name.

    Raises:
        ValueError: A name is not known.
    """
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"task {task}: {kind} {unknown} do not exist; choose from {sorted(known)}")
