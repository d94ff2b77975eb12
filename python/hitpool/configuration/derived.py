"""What a configuration need not say twice: sizes and field lists that follow from the data and from the network."""

import inspect
from typing import Any

from hitpool.data import HitDataModule

SLOTS = inspect.signature(HitDataModule).parameters["max_particles"].default
HIT_TASKS = ("ObjectSeedTask", "ObjectHitMaskTask", "WeightedPoolingObjectHitRegressionTask")
POSITIONS = ("PositionEncoder", "HelixPositionEncoder")
REGRESSIONS = ("ObjectRegressionTask", "WeightedPoolingObjectHitRegressionTask")


def derive(config: dict[str, Any]) -> None:
    """Fills in what is left out of those parts of a model that are hitpool's; what is given stays.

    - `fields` of the input network, and `hit_fields` of a task and of its `HelixFit`, are those of `data.inputs`;
      `fields` of a task are those of `data.targets`.
    - `input_size` of the input network is the number of its fields, each `num_queries` is `data.max_particles`.
    - `output_size` of the input network and each `dim` are the `dim` of the network.
    - The only entry of `data.inputs` is `input_name` and `input_hit`, that of `data.targets` is `target_object`.

    Args:
        config: A configuration as plain dictionaries and lists, complete or not, which is changed.

    Example:
        >>> net = {"class_path": "hitpool.nn.InputNet", "init_args": {"net": {"class_path": "hitpool.nn.Dense"}}}
        >>> network = {"dim": 8, "input_nets": {"modules": [net]}}
        >>> derive({"data": {"inputs": {"hit": ["x", "y"]}}, "model": {"model": network}})
        >>> net["init_args"]["fields"], net["init_args"]["net"]["init_args"]
        (['x', 'y'], {'input_size': 2, 'output_size': 8})
    """
    data, model = config.get("data"), config.get("model")
    network = _arguments(model.get("model")) if isinstance(model, dict) else None
    if network is None or not isinstance(data, dict):
        return
    inputs, targets = _lists(data.get("inputs")), _lists(data.get("targets"))
    dim = network.get("dim")
    _fill(network, target_object=_only(targets))
    for net in _modules(network.get("input_nets"), ("InputNet",)):
        _fill(net, input_name=_only(inputs))
        _fill(net, fields=inputs.get(net.get("input_name")))
        fields = net.get("fields")
        number = len(fields) if isinstance(fields, list) else None
        _fill(_arguments(net.get("net"), ("Dense",)), input_size=number or None, output_size=dim)
        _fill(_arguments(net.get("posenc"), POSITIONS), input_name=net.get("input_name"), dim=dim)
    _fill(_arguments(network.get("encoder"), ("Encoder",)), dim=dim)
    if decoder := _arguments(network.get("decoder"), ("MaskFormerDecoder",)):
        _fill(decoder, num_queries=data.get("max_particles", SLOTS))
        _fill(_arguments(decoder.get("decoder_layer_config")), dim=dim)
    tasks = network.get("tasks")
    for task in _modules(tasks, ("ObjectValidTask", *HIT_TASKS, *REGRESSIONS)):
        _fill(task, target_object=network.get("target_object"), dim=dim)
    for task in _modules(tasks, HIT_TASKS):
        if not task.get("input_constituent"):
            _fill(task, input_hit=_only(inputs))
    for task in _modules(tasks, ("ObjectSeedTask",)):
        _fill(task, num_queries=data.get("max_particles", SLOTS))
    for task in _modules(tasks, REGRESSIONS):
        _fill(task, fields=targets.get(task.get("target_object")))
    for task in _modules(tasks, ("WeightedPoolingObjectHitRegressionTask",)):
        _fill(task, hit_fields=inputs.get(task.get("input_hit") or task.get("input_constituent")))
        _fill(_arguments(task.get("track_fit"), ("HelixFit",)), hit_fields=task.get("hit_fields"))


def _fill(arguments: dict[str, Any] | None, **derived: Any) -> None:
    """Sets the arguments that are left out, or null, where something can be derived."""
    for name, value in derived.items():
        if arguments is not None and arguments.get(name) is None and value is not None:
            arguments[name] = list(value) if isinstance(value, list) else value


def _arguments(module: Any, names: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """Arguments of a module, if it is one of hitpool's classes of these names, or need not name its class."""
    if not isinstance(module, dict):
        return None
    if "class_path" not in module:
        return None if "init_args" in module else module
    package, _, name = str(module["class_path"]).rpartition(".")
    if names and not (name in names and package.split(".")[0] == "hitpool"):
        return None
    if module.get("init_args") is None:
        module["init_args"] = {}
    return module["init_args"] if isinstance(module["init_args"], dict) else None


def _modules(container: Any, names: tuple[str, ...]) -> list[dict[str, Any]]:
    modules = (_arguments(container) or {}).get("modules")
    found = [_arguments(module, names) for module in modules] if isinstance(modules, list) else []
    return [arguments for arguments in found if arguments is not None]


def _lists(fields: Any) -> dict[str | None, list[str]]:
    """The field lists by the name of their objects, as far as they are lists."""
    return {name: own for name, own in fields.items() if isinstance(own, list)} if isinstance(fields, dict) else {}


def _only(fields: dict[str | None, list[str]]) -> str | None:
    return next(iter(fields)) if len(fields) == 1 else None
