"""Files that hold tasks alone, and where the tasks go in a complete configuration."""

import copy
import re
from typing import Any

from hitpool.configuration.hepattn import freeze_around_task
from hitpool.configuration.hepattn.form import modules
from hitpool.configuration.hepattn.parts import is_no_task

_KINDS = (r"Object(Valid|Classification)Task", r"ObjectHitMaskTask", r".*RegressionTask")


def tasks_alone(content: Any) -> list[dict[str, Any]] | None:
    """Tasks of a file that holds nothing else: one task, a list of tasks, or a mapping with the one key `tasks`.

    Args:
        content: What the YAML file holds.

    Returns:
        The tasks, or None for any other file.

    Raises:
        ValueError: If there is no task, or an entry that is none.

    Example:
        >>> task = {"class_path": "hitpool.tasks.ObjectValidTask", "init_args": {"name": "track_valid"}}
        >>> tasks_alone(task) == tasks_alone([task]) == tasks_alone({"tasks": [task]}) == [task]
        True
        >>> tasks_alone({"name": "muon"}) is None
        True
    """
    if isinstance(content, dict) and set(content) == {"tasks"}:
        content = content["tasks"]
    elif isinstance(content, list):
        if content and not any(isinstance(entry, dict | str) for entry in content):
            return None
    elif not (isinstance(content, dict) and "class_path" in content):
        return None
    if isinstance(content, dict) and "class_path" in content and not _class_name(content).endswith("ModuleList"):
        content = [content]
    tasks = modules(content, "tasks", "task")
    for task in tasks:
        if is_no_task(str(task["class_path"])):
            raise ValueError(f"expected tasks, or the sections data, trainer and model, got {task['class_path']} alone")
    return tasks


def put_tasks(config: dict[str, Any], tasks: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Puts tasks into the model of a complete configuration.

    Several tasks are all tasks of the model. A single one takes the place of the task with its name or, if there is
    none, of the only task of its kind (validity, hit mask, regression). Hit fields of the tasks that `data.inputs` does
    not list are added to it.

    Args:
        config: A configuration with `model.model.tasks`; it is left as it is.
        tasks: Tasks as `class_path` and `init_args`.

    Returns:
        The new configuration, and the names of the tasks that were put into it.

    Raises:
        ValueError: If the configuration has no tasks, or none whose place a single task could take.
    """
    config = copy.deepcopy(config)
    try:
        container = config["model"]["model"]["init_args"]["tasks"]["init_args"]
        present = container["modules"]
    except (KeyError, TypeError):
        raise ValueError("there is no model.model.tasks to put the tasks into: give a complete configuration") from None
    tasks = copy.deepcopy(tasks)
    container["modules"] = tasks if len(tasks) > 1 else _replaced(present, tasks[0])
    inputs = (config.get("data") or {}).get("inputs") or {}
    for task in tasks:
        arguments = task.get("init_args") or {}
        hits = arguments.get("input_hit")
        if hits in inputs:
            inputs[hits] = list(dict.fromkeys([*inputs[hits], *(arguments.get("hit_fields") or ())]))
    return freeze_around_task(config), [str(name_of_task(task)) for task in tasks]


def _replaced(present: list[dict[str, Any]], task: dict[str, Any]) -> list[dict[str, Any]]:
    places = [index for index, other in enumerate(present) if name_of_task(other) == name_of_task(task)]
    places = places or [index for index, other in enumerate(present) if _kind(other) == _kind(task) is not None]
    if len(places) != 1:
        listed = ", ".join(f"{name_of_task(other)} ({other['class_path']})" for other in present)
        raise ValueError(
            f"whose place does task {name_of_task(task)} ({task['class_path']}) take? The configuration has {listed};"
            " give it the name of one of them, or list all tasks"
        )
    return [*present[: places[0]], task, *present[places[0] + 1 :]]


def name_of_task(task: dict[str, Any]) -> Any:
    """Name of a task, None if it has none."""
    return (task.get("init_args") or {}).get("name")


def _kind(task: dict[str, Any]) -> str | None:
    return next((kind for kind in _KINDS if re.fullmatch(kind, _class_name(task))), None)


def _class_name(task: dict[str, Any]) -> str:
    return str(task["class_path"]).rsplit(".", 1)[-1]
