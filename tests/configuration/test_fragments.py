from typing import Any

import pytest

from hitpool.configuration.fragments import put_tasks, tasks_alone


def task(kind: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"hitpool.tasks.{kind}", "init_args": {"name": name, **arguments}}


VALID, MASK = task("ObjectValidTask", "track_valid"), task("ObjectHitMaskTask", "track_hit_valid")
REGRESSION = task("ObjectRegressionTask", "parameter_regression", loss_weight=1.0)


def container(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"class_path": "torch.nn.ModuleList", "init_args": {"modules": list(tasks)}}


def config(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"name": "x", "model": {"model": {"class_path": "M", "init_args": {"tasks": container(*tasks)}}}}


@pytest.mark.parametrize(
    ("content", "tasks"),
    [
        (VALID, [VALID]),
        ([VALID, MASK], [VALID, MASK]),
        ({"tasks": [VALID]}, [VALID]),
        ({"tasks": VALID}, [VALID]),
        ({"tasks": container(VALID, MASK)}, [VALID, MASK]),
        (container(VALID, MASK), [VALID, MASK]),
        ({"tasks": container(VALID), "name": "x"}, None),
        (config(VALID), None),
        ("text", None),
        (None, None),
    ],
)
def test_files_that_hold_tasks_alone(content: Any, tasks: list[dict[str, Any]] | None) -> None:
    assert tasks_alone(content) == tasks


def test_several_tasks_are_all_tasks() -> None:
    before = config(VALID, MASK, REGRESSION)
    after, names = put_tasks(before, [MASK, REGRESSION])
    assert (after, names) == (config(MASK, REGRESSION), ["track_hit_valid", "parameter_regression"])
    assert before == config(VALID, MASK, REGRESSION)


@pytest.mark.parametrize(
    "new",
    [
        task("WeightedPoolingObjectHitRegressionTask", "parameter_regression"),  # the same name
        task("WeightedPoolingObjectHitRegressionTask", "other"),  # the same kind
    ],
)
def test_one_task_takes_the_place_of_its_like(new: dict[str, Any]) -> None:
    after, names = put_tasks(config(VALID, MASK, REGRESSION), [new])
    assert (after, names) == (config(VALID, MASK, new), [new["init_args"]["name"]])


def test_hit_fields_of_tasks_become_inputs_of_the_data() -> None:
    fields = ["x", "y"]
    before = config(REGRESSION) | {"data": {"inputs": {"hit": fields}}, "net": fields}  # one list, as by a YAML alias
    new = task(
        "WeightedPoolingObjectHitRegressionTask", "parameter_regression", hit_fields=["y", "phi"], input_hit="hit"
    )
    after, _ = put_tasks(before, [new])
    assert (after["data"]["inputs"]["hit"], after["net"]) == (["x", "y", "phi"], ["x", "y"])
    after, _ = put_tasks(before, [REGRESSION])
    assert after["data"] == before["data"]


def test_a_place_that_is_not_clear_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"whose place does task x \(hitpool\.tasks\.Other\) take.*track_valid"):
        put_tasks(config(VALID, MASK), [task("Other", "x")])
    with pytest.raises(ValueError, match=r"whose place does task x"):
        put_tasks(config(REGRESSION, task("ObjectRegressionTask", "second")), [task("ObjectRegressionTask", "x")])
    with pytest.raises(ValueError, match=r"no model\.model\.tasks"):
        put_tasks({"name": "x"}, [VALID])
