"""The fork's regression that freezes the model around it, as the settings of a training that it is in hitpool."""

from typing import Any

KEY = "frozen_encoder"  # of what `freezing_task` leaves for `freeze_around_task`, which alone sees the other tasks


def freezing_task(args: dict[str, Any], path: str) -> dict[str, Any]:
    """Arguments of the regression, and beside them what it says about the model.

    Args:
        args: Arguments of the fork's task.
        path: Where they stand, for messages.

    Raises:
        ValueError: There is no `checkpoint_path`.
    """
    if not args.get("checkpoint_path"):
        raise ValueError(f"{path}.checkpoint_path: expected the checkpoint of a hitpool training, got none")
    around = {"network_checkpoint": args.pop("checkpoint_path"), "freeze_all": args.pop("freeze_all", False)}
    return args | {KEY: around}


def freeze_around_task(config: dict[str, Any]) -> dict[str, Any]:
    """Moves what `freezing_task` left in tasks to `model.network_checkpoint` and `model.frozen`.

    Args:
        config: A configuration of hitpool, which is changed, or a piece of one, which is left for later.

    Raises:
        ValueError: Two tasks name different checkpoints.
    """
    try:
        model = config["model"]
        tasks = [task["init_args"] for task in model["model"]["init_args"]["tasks"]["init_args"]["modules"]]
    except (KeyError, TypeError):
        return config
    around = {index: task.pop(KEY) for index, task in enumerate(tasks) if KEY in task}
    if not around:
        return config
    checkpoints = list(dict.fromkeys(entry["network_checkpoint"] for entry in around.values()))
    if len(checkpoints) > 1:
        raise ValueError(f"model.model.tasks: expected one checkpoint_path, got {' and '.join(checkpoints)}")
    frozen = ["input_nets", "encoder"]
    if any(entry["freeze_all"] for entry in around.values()):
        frozen += ["decoder", *(f"tasks.{index}" for index in range(len(tasks)) if index not in around)]
    model |= {"network_checkpoint": checkpoints[0], "frozen": frozen}
    return config
