"""The recorded network behind a check of its inputs, which is part of the exported model in Python and in C++."""

import torch
from torch import Tensor, nn


class CheckedModel(nn.Module):
    """Checks the arrays and runs the model; it is scripted, because a recorded model has no conditions.

    Args:
        model: Takes hits [B, M, C] and valid [B, M], gives three tensors.
        columns: Names of the C columns, for the messages.
    """

    def __init__(self, model: nn.Module, columns: list[str]) -> None:
        super().__init__()
        self.model = model
        self.columns = columns

    def forward(self, hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Runs the model.

        Args:
            hits: float32 [B, M, C].
            valid: bool [B, M].

        Returns:
            What the model returns.

        Raises:
            ValueError: If a shape or dtype is another one; lists the columns if their number is wrong. From C++ it is a
                `torch::jit::JITException`.
        """
        if hits.dim() != 3 or hits.size(-1) != len(self.columns):
            raise ValueError(
                f"hits: expected shape [events, hits, {len(self.columns)}] with the columns "
                f"{', '.join(self.columns)}, got {hits.size()}"
            )
        if hits.dtype != torch.float32:
            raise ValueError(f"hits: expected float32, got {_name(hits)}")
        if valid.dim() != 2 or valid.size(0) != hits.size(0) or valid.size(1) != hits.size(1):
            raise ValueError(
                f"valid: expected shape [{hits.size(0)}, {hits.size(1)}], one for each of the hits, got {valid.size()}"
            )
        if valid.dtype != torch.bool:
            raise ValueError(f"valid: expected bool, false at padded hits, got {_name(valid)}")
        return self.model(hits, valid)


def _name(tensor: Tensor) -> str:
    """Name of a dtype, which is a number in TorchScript."""
    if tensor.dtype == torch.float64:
        return "float64"
    if tensor.dtype == torch.float32:
        return "float32"
    if tensor.dtype == torch.float16:
        return "float16"
    if tensor.dtype == torch.bfloat16:
        return "bfloat16"
    if tensor.dtype == torch.bool:
        return "bool"
    if tensor.dtype == torch.uint8:
        return "uint8"
    return "complex numbers" if tensor.is_complex() else "integers"
