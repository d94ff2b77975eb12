"""Parts of a network that are trained when everything in front of them is."""

from typing import Any

import torch
from torch import Tensor, nn


class LateModule(nn.Module):
    """A module that its task uses only once the second phase of `hitpool fit` has trained it.

    Whether it is trained is kept with the weights, and beside them as `ready`, because a recorded graph must not branch
    on a tensor.
    """

    trained: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("trained", torch.tensor(False))
        self.ready = False

    def declare(self, trained: bool) -> None:
        """Says whether it is trained for the assignment that there is.

        Args:
            trained: Whether it is.
        """
        self.trained.fill_(trained)
        self.ready = trained

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self.ready = bool(self.trained)
