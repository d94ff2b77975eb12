"""Continuing inside an epoch: what Lightning's loops are told about the place where a training stopped."""

from typing import Any


def continue_exactly(loops: dict[str, Any]) -> tuple[int, int, bool]:
    """Rewrites the state of Lightning's fit loop in a checkpoint, so that the training goes on with the next batch.

    Lightning counts an epoch that was cut short (`max_steps`, `max_time`) as complete, leaves out a validation that
    was due when the checkpoint was written, and does not call the hooks at the start of the epoch that it continues.

    Args:
        loops: Entry `loops.fit_loop` of a checkpoint; changed in place.

    Returns:
        The epoch in which the training goes on, the number of its batches that were trained, and whether it has no
        others.
    """
    epochs, batches = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
    validation = loops["epoch_loop.val_loop.batch_progress"]
    epoch, trained = epochs["current"]["processed"], batches["current"]["processed"]
    ended = epochs["current"]["started"] == epoch  # its last hooks were reached
    validated = batches["current"]["completed"] == trained and _complete(validation)
    if ended and trained and not batches["is_last_batch"]:
        epoch -= 1
    elif ended:
        trained, batches["is_last_batch"] = 0, False
    for part in ("total", "current"):
        _count(epochs[part], epoch)
        _count(batches[part], trained if part == "current" else batches[part]["processed"])
        _count(validation[part], 0)
    if trained:
        for part in ("total", "current"):
            epochs[part]["ready"] += 1  # begun, before its first hooks
        if not (ended or validated):
            validation["total"] |= {"ready": 1, "started": 1}  # interrupted: it is run again, if it is due
    return epoch, trained, batches["is_last_batch"]


def _complete(progress: dict[str, Any]) -> bool:
    return progress["is_last_batch"] and progress["current"]["completed"] == progress["current"]["ready"]


def _count(progress: dict[str, int], number: int) -> None:
    progress.update(ready=number, started=number, processed=number, completed=number)
