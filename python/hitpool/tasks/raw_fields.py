"""Raw hit fields in the order of the encoded hits."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hitpool.hits import Hits
from hitpool.nn.fields import stack_fields


def raw_fields(x: Mapping[str, Any], input_name: str, fields: Sequence[str], valid: Tensor | None = None) -> Tensor:
    """Raw hit fields, hit by hit in the order of `<input_name>_embed`.

    A model may sort the hits by one of their fields and leave `inputs` unsorted, as hepattn does with its
    `Sorter`. The sorted field is then found in `x` too, and `inputs` are brought into its order.

    Args:
        x: `<input_name>_<field>` [B, M] for each field, under `inputs` or directly.
        input_name: Kind of input, such as `hit`.
        fields: Names in the order of the last dimension.
        valid: bool [B, M] in the order of `x`, False at padding, which becomes 0; None leaves it as it is.

    Returns:
        The fields [B, M, F], float32 or, if they are, float64; see `stack_fields`.

    Raises:
        KeyError: A field is missing.
        ValueError: More than one field is in `x` and under `inputs`, or one with contents that are neither the same
            nor sorted.

    Example:
        >>> inputs = {"hit_r": torch.tensor([[1.0, 2.0, 3.0]]), "hit_phi": torch.tensor([[0.5, -0.5, 0.0]])}
        >>> raw_fields({"inputs": inputs}, "hit", ["r"])[..., 0]
        tensor([[1., 2., 3.]])
        >>> raw_fields({"inputs": inputs, "hit_phi": torch.tensor([[-0.5, 0.0, 0.5]])}, "hit", ["r"])[..., 0]
        tensor([[2., 3., 1.]])
    """
    inputs = x.get("inputs")
    if inputs is None or isinstance(inputs, Hits):  # in the order of `x`
        return stack_fields(x if inputs is None else inputs, input_name, fields, valid)
    raw = stack_fields(inputs, input_name, fields)  # [B, M, F]
    both = [
        key
        for key in x
        if key in inputs and key.startswith(f"{input_name}_") and not key.endswith(("_embed", "_valid"))
    ]
    if len(both) > 1:
        raise ValueError(f"{both} are in x and in x['inputs']: expected one field, by which the hits are sorted")
    if both:
        raw = torch.take_along_dim(raw, sorted_order(inputs[both[0]], x[both[0]], both[0]).unsqueeze(-1), dim=1)
    return raw if valid is None else raw.masked_fill_(~valid.unsqueeze(-1), 0)


@torch.library.custom_op("hitpool::sorted_order", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def sorted_order(field: Tensor, found: Tensor, name: str) -> Tensor:
    """Order in which a field was sorted; that of equal values is the order which argsort gives here.

    An op of its own, so that a compiler does not replace argsort by one that treats equal values differently.

    Args:
        field: Unsorted [B, M].
        found: The same values, sorted or not [B, M].
        name: Name of the field.

    Returns:
        int64 [B, M] with found = field[order].

    Raises:
        ValueError: `found` is something else.
    """
    order = field.argsort(dim=-1)
    if _same(field.gather(-1, order), found):
        return order
    if _same(field, found):
        return torch.arange(field.shape[-1], device=field.device).repeat(field.shape[0], 1)
    raise ValueError(
        f"x['{name}'] {list(found.shape)} is neither x['inputs']['{name}'] {list(field.shape)} nor that in ascending "
        "order: expected one of them, to tell in which order the hits are"
    )


def _same(one: Tensor, two: Tensor) -> bool:
    """Whether two fields hold the same, NaN in padded hits included."""
    return one.shape == two.shape and bool(((one == two) | (one.isnan() & two.isnan())).all())


@sorted_order.register_fake
def _(field: Tensor, found: Tensor, name: str) -> Tensor:
    return torch.empty_like(field, dtype=torch.int64)
