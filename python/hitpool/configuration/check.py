"""Whether the parts of a configuration fit together."""

from typing import Any

from hitpool.data.names import similar

FIT_FIELDS = (
    *("high", "low", "radius", "radius_variance", "wire_variance", "technology"),  # of ToroidFit
    *("points", "first", "second", "variances", "hit_fields"),  # of SolenoidFit and HelixFit
)
LEAST = {  # numbers for which Lightning trains something else, or divides by zero
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
}


def check(config: dict[str, Any]) -> None:
    """Checks that the parts of a configuration fit together, before any data is simulated or read.

    Args:
        config: A resolved configuration as plain dictionaries and lists.

    Raises:
        ValueError: If a number of the trainer makes no sense, a model asks for a hit field or target that the data
            does not list, or has another number of queries than the data has particle slots. The message says what
            to change.
    """
    trainer = config.get("trainer") or {}
    for option, least in LEAST.items():
        value = trainer.get(option)
        if value is not None and value < least:
            raise ValueError(f"trainer.{option}: expected at least {least}, got {value}")
    if trainer.get("val_check_interval") == 0:
        raise ValueError("trainer.val_check_interval: expected more than 0, got 0 (no validation: limit_val_batches 0)")
    _check_precision(trainer.get("precision"))
    data = config["data"]
    network = _arguments(config["model"]["model"])
    for index, net in enumerate(_modules(network.get("input_nets"))):
        sorting = {"input_name": net.get("input_name"), "input_sort_field": network.get("input_sort_field")}
        _check_fields("model.model", sorting, "input_sort_field", "input_name", "data.inputs", data["inputs"])
        path = f"model.model.input_nets.{index}"
        _check_fields(path, net, "fields", "input_name", "data.inputs", data["inputs"])
        posenc = _arguments(net.get("posenc") or {})
        posenc = posenc | {"angles": [field for pair in posenc.get("angles") or () for field in pair]}
        for option in ("fields", "angles"):
            _check_fields(f"{path}.posenc", posenc, option, "input_name", "data.inputs", data["inputs"])
    for index, task in enumerate(_modules(network.get("tasks"))):
        path = f"model.model.tasks.{index}"
        for option in ("hit_fields", "order_field"):
            _check_fields(path, task, option, "input_hit", "data.inputs", data["inputs"])
        _check_fields(path, task, "fields", "target_object", "data.targets", data["targets"])
        fit = _arguments(task.get("track_fit") or {}) | {"input_hit": task.get("input_hit")}
        for option in FIT_FIELDS:
            _check_fields(f"{path}.track_fit", fit, option, "input_hit", "data.inputs", data["inputs"])
    queries = _arguments(network.get("decoder") or {}).get("num_queries")
    slots = data.get("max_particles")
    if None not in (queries, slots) and queries != slots:
        raise ValueError(
            f"model.model.decoder.num_queries is {queries} and data.max_particles is {slots}: set both to the largest"
            " number of particles in an event"
        )


def _check_precision(precision: Any) -> None:
    """Refuses what keeps no layer in float32."""
    if str(precision) not in ("None", "16", "32", "64", "bf16", "16-mixed", "bf16-mixed", "32-true", "64-true"):
        raise ValueError(
            f"trainer.precision is {precision}, in which hit coordinates are rounded (31 mm at 6 m in bfloat16): use"
            " bf16-mixed or 16-mixed, 32-true or 64-true"
        )


def _check_fields(
    path: str, module: dict[str, Any], option: str, owner: str, source: str, available: dict[str, list[str]]
) -> None:
    """Checks that `module[option]` is among the fields which `source` lists for the object `module[owner]`."""
    if not module.get(option):
        return
    name = module.get(owner)
    if name not in available:
        raise ValueError(f"{path}.{owner} is {name!r}, but {source} has {list(available)}: give both the same name")
    fields = [module[option]] if isinstance(module[option], str) else module[option]
    missing = [field for field in fields if field not in available[name]]
    if missing:
        others = [field for field in available[name] if field not in fields]
        pairs = [f"'{near}' for '{field}'" for field in missing if (near := similar(field, others))]
        misspelled = f" (it has {', '.join(pairs)}: is one misspelled?)" if pairs else ""
        listed = f" (it has {', '.join(others)})" if others and not pairs else ""
        raise ValueError(
            f"{path}.{option} names {', '.join(missing)}, which {source}.{name} does not list{misspelled}{listed}:"
            f" add them to {source}.{name}, or remove them from {path}.{option}"
        )


def _arguments(module: dict[str, Any]) -> dict[str, Any]:
    return module.get("init_args") or {} if "class_path" in module else module


def _modules(container: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [_arguments(module) for module in _arguments(container or {}).get("modules") or ()]
