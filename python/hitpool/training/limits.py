"""Predictions that a range has changed."""

from collections.abc import Mapping

from hitpool.nn import MaskFormer
from hitpool.tasks import RegressionTask

NOTICED = 0.01


def limited_fields(network: MaskFormer, metrics: Mapping[str, float]) -> list[str]:
    """Says of which fields more than 1 % of the predictions are at an end of their `prediction_range`.

    Args:
        network: The model.
        metrics: Means over events, `final_<task>_<field>_limited` among them.

    Returns:
        A line for each such field.
    """
    lines = []
    for task in network.tasks:
        if not isinstance(task, RegressionTask):
            continue
        bounds = zip(task.fields, task.space.low.tolist(), task.space.high.tolist(), strict=True)
        for field, low, high in bounds:
            share = metrics.get(f"final_{task.name}_{field}_limited", 0.0)
            if share > NOTICED:
                lines.append(
                    f"task {task.name}: {100 * share:.1f} % of the predictions of {field} are at an end of [{low:g}, "
                    f"{high:g}], because the network's are beyond; its prediction_range sets these ends"
                )
    return lines
