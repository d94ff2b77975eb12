"""From hit fields to embeddings."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hitpool.nn.fields import stack_fields
from hitpool.nn.precision import precise_dtype


class InputNet(nn.Module):
    """Embeds each hit on its own, from its fields and, if wanted, an encoding of its position.

    It does not run in the type of autocast, because bfloat16 coordinates have steps of 31 mm at 6 m.

    Args:
        input_name: Kind of input, such as `hit`; field f is read from `<input_name>_<f>`.
        fields: Fields given to `net`, in this order.
        net: Maps [..., F] to [..., D].
        posenc: Its encoding [B, M, D] is added to the output of `net`.
    """

    def __init__(self, input_name: str, fields: list[str], net: nn.Module, posenc: nn.Module | None = None) -> None:
        super().__init__()
        size = getattr(net, "input_size", len(fields))
        if size != len(fields):
            raise ValueError(
                f"InputNet {input_name}: net takes {size} features and fields lists {len(fields)}; "
                f"set net.input_size to {len(fields)}"
            )
        self.input_name = input_name
        self.fields = list(fields)
        self.net = net
        self.posenc = posenc

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Embed all hits of a batch.

        Args:
            inputs: The hits of a batch, or `<input_name>_<field>` [B, M] for each field and `<input_name>_valid` bool
                [B, M]; what padded hits hold has no influence.

        Returns:
            Embeddings [B, M, D], float32 or, in a network of that type, float64.

        Raises:
            TypeError: The network is of another type.
        """
        dtype = precise_dtype(self.net, f"InputNet {self.input_name}")
        valid = inputs.get(f"{self.input_name}_valid")
        features = stack_fields(inputs, self.input_name, self.fields, valid).to(dtype)  # [B, M, F]
        with torch.autocast(features.device.type, enabled=False):
            embed = self.net(features)  # [B, M, D]
            return embed if self.posenc is None else embed + self.posenc(inputs)
