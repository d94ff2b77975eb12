"""Assignment of predictions to truth."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from hitpool.nn.precision import at_least_float32


class Matcher(nn.Module):
    """Assignment of predicted slots to truth slots with the lowest total cost, by SciPy for each event."""

    @torch.no_grad()
    def forward(self, costs: Mapping[str, Tensor], target_valid: Tensor, sample_id: Tensor | None = None) -> Tensor:
        """Match all events of a batch.

        Args:
            costs: Costs [B, N, N] (event, prediction, target) by name; they are added. What they hold for
                invalid targets has no influence.
            target_valid: bool [B, N], True for truth slots that hold a particle.
            sample_id: Number of each event [B], for error messages.

        Returns:
            int64 [B, N]: for each truth slot its prediction; invalid slots get those that are left.

        Raises:
            ValueError: A cost of a valid target is NaN or infinite, or there are none.

        Example:
            >>> cost = torch.tensor([[[5.0, 1.0], [1.0, 2.0]]])
            >>> Matcher()({"mask": cost}, torch.tensor([[True, True]]))
            tensor([[1, 0]])
        """
        if not costs:
            raise ValueError("Matcher: no task has a cost; give at least one task an entry in `costs`")
        valid = target_valid.cpu().numpy()  # [B, N]
        total = torch.stack([at_least_float32(cost) for cost in costs.values()]).sum(0).cpu().numpy()  # [B, N, N]
        if not np.isfinite(total, where=valid[:, None], out=np.ones_like(total, dtype=bool)).all():
            self._raise(costs, valid, sample_id)
        total = np.where(valid[:, None], total, 0.0).swapaxes(1, 2)  # [B, target, prediction]
        pred_idx = np.empty(valid.shape, dtype=np.int64)
        for event, cost in enumerate(total):
            pred_idx[event] = linear_sum_assignment(cost)[1]
        return torch.from_numpy(pred_idx).to(target_valid.device)

    @staticmethod
    def _raise(costs: Mapping[str, Tensor], valid: np.ndarray, sample_id: Tensor | None) -> None:
        for name, cost in costs.items():
            values = at_least_float32(cost).cpu().numpy()
            bad = np.argwhere(~np.isfinite(values) & valid[:, None])
            if len(bad):
                event, pred, target = bad[0].tolist()
                label = f"{event} of the batch" if sample_id is None else f"{int(sample_id[event])}"
                raise ValueError(
                    f"Matcher: cost of {name} is {values[event, pred, target]} in event {label} for "
                    f"prediction {pred} and truth slot {target} ({len(bad)} such costs in the batch)"
                )
        raise ValueError("Matcher: the sum of the costs is not finite, though each of them is")
