"""Shapes of tensors, named by letters."""

from collections.abc import Mapping

from torch import Tensor

from hitpool.nn.recorded import is_recorded


def check_shapes(owner: str, tensors: Mapping[str, tuple[Tensor | None, str]], **sizes: int) -> None:
    """Checks that the shapes of tensors fit together; nothing is checked in recorded graphs.

    Args:
        owner: What reads the tensors, for the message.
        tensors: By name each tensor, or None if it is left out, and its dimensions as letters; a letter has the size
            that the first tensor with it has.
        **sizes: Sizes of letters that are known.

    Raises:
        ValueError: A shape is another one; names the tensor, what was expected and what came.

    Example:
        >>> import torch
        >>> hits, logits = torch.zeros(2, 5, 3), torch.zeros(2, 4, 6)
        >>> check_shapes("HelixFit", {"hits": (hits, "B M F"), "logits": (logits, "B N M")}, F=3)
        Traceback (most recent call last):
        ValueError: HelixFit: expected logits [B, N, M] = [2, N, 5], got [2, 4, 6]
    """
    if is_recorded():
        return
    known: dict[str, int] = dict(sizes)
    for name, (tensor, dimensions) in tensors.items():
        if tensor is None:
            continue
        letters, shape = dimensions.split(), list(tensor.shape)
        expected = [known.get(letter, letter) for letter in letters]
        known = dict(zip(letters, shape, strict=False)) | known
        if [known.get(letter) for letter in letters] != shape:
            shown = ", ".join(map(str, expected))
            raise ValueError(f"{owner}: expected {name} [{', '.join(letters)}] = [{shown}], got {shape}")
