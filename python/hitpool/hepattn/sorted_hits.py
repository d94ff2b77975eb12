"""Raw hit fields in the order of the encoded hits."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hitpool.nn.fields import stack_fields


def in_order(x: Mapping[str, Any], input_name: str, fields: Sequence[str]) -> Mapping[str, Any]:
    """Raw hit fields, hit by hit in the order of `<input_name>_embed`.

    hepattn's `Sorter` sorts the hits by one of their fields and leaves `inputs` unsorted. The sorted field is then
    found in `x` too, and the fields are brought into its order.

    Args:
        x: `<input_name>_<field>` [B, M] for each field, under `inputs` (upstream) or directly (fork).
        input_name: Kind of input, such as `hit`.
        fields: Names of those that are needed.

    Returns:
        A mapping that has `<input_name>_<field>` [B, M] for each of them.

    Raises:
        ValueError: More than one field is in `x` and under `inputs`, or one with contents that are neither the same
            nor sorted.

    Example:
        >>> inputs = {"hit_r": torch.tensor([[1.0, 2.0, 3.0]]), "hit_phi": torch.tensor([[0.5, -0.5, 0.0]])}
        >>> in_order({"inputs": inputs, "hit_phi": torch.tensor([[-0.5, 0.0, 0.5]])}, "hit", ["r"])
        {'hit_r': tensor([[2., 3., 1.]])}
    """
    if "inputs" not in x:
        return x
    inputs, kinds = x["inputs"], ("_embed", "_valid")
    both = [key for key in x if key in inputs and key.startswith(f"{input_name}_") and not key.endswith(kinds)]
    if len(both) > 1:
        raise ValueError(f"{both} are in x and in x['inputs']: expected one field, by which the hits are sorted")
    if not both:
        return inputs
    order = sorted_order(inputs[both[0]], x[both[0]], both[0]).unsqueeze(-1)  # [B, M, 1]
    raw = torch.take_along_dim(stack_fields(inputs, input_name, fields), order, dim=1)  # [B, M, F]
    return {f"{input_name}_{field}": raw[..., k] for k, field in enumerate(fields)}


@torch.library.custom_op("hitpool::sorted_order", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def sorted_order(field: Tensor, found: Tensor, name: str) -> Tensor:
    """Order [B, M] in which a field [B, M] was sorted: found = field[order]; that of equal values is argsort's.

    An op of its own, so that a compiler does not replace argsort by one that treats equal values differently.

    Raises:
        ValueError: What was found is neither sorted nor as it was.
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
