"""From fields to one tensor."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hitpool.hits import Hits
from hitpool.nn.precision import at_least_float32


def stack_fields(
    inputs: Mapping[str, Tensor], input_name: str, fields: Sequence[str], valid: Tensor | None = None
) -> Tensor:
    """The fields of one kind of input as a tensor of float32, or of float64 if they are.

    Args:
        inputs: The hits of a batch, or `<input_name>_<field>` [B, M] for each field; further entries are ignored.
        input_name: Kind of input, such as `hit`.
        fields: Names in the order of the last dimension.
        valid: bool [B, M], False at padding, which may hold anything and becomes 0; None for no padding. In `Hits` it
            is 0 already.

    Returns:
        The fields [B, M, F]; of `Hits` not a copy, if they are all.

    Raises:
        KeyError: A field is missing.

    Example:
        >>> x = {"hit_r": torch.tensor([[1.0, 2.0]]), "hit_phi": torch.tensor([[0.0, 0.5]])}
        >>> stack_fields(x, "hit", ["r", "phi"])
        tensor([[[1.0000, 0.0000],
                 [2.0000, 0.5000]]])
    """
    if missing := [field for field in fields if f"{input_name}_{field}" not in inputs]:
        prefix = f"{input_name}_"
        available = [key.removeprefix(prefix) for key in inputs if key.startswith(prefix)]
        raise KeyError(f"{input_name} has no fields {missing}; add them to data.inputs.{input_name} (has {available})")
    if isinstance(inputs, Hits):
        return at_least_float32(inputs.chosen(fields))
    # a linear layer reads this layout as fast as [B, M, F], and it is written twice as fast
    stacked = at_least_float32(torch.stack([inputs[f"{input_name}_{field}"] for field in fields]))  # [F, B, M]
    return (stacked if valid is None else stacked.masked_fill_(~valid, 0)).movedim(0, -1)
