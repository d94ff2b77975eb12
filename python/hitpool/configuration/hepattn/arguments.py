"""Arguments of hepattn's classes in the form that hitpool's classes take."""

from typing import Any

from hitpool.configuration.hepattn.frozen_encoder import freezing_task
from hitpool.configuration.hepattn.notices import Notices, short, shown
from hitpool.configuration.hepattn.order import ordered
from hitpool.data.names import suggestion
from hitpool.hepattn.arguments import WIDE, own_arguments, with_wide_head

_DECODER = ("num_decoder_layers", "num_queries", "decoder_layer_config", "mask_attention")
_ATTENTION_HINTS = ("attn_type", "torch_compile", "window_size")
_ATTENTION_DIFFERS = {"bias": True, "qkv_norm": False, "value_residual": False}
_DENSE_DIFFERS = {"norm_input": False, "bias": True}
_DENSE_DEFAULTS = {"hidden_layers": None, "hidden_dim_scale": 2, "dropout": 0.0, "final_activation": None}
_PT_NORM, _PT_NORM_UNIT = "pt_norm", 200.0  # GeV
_ACTIVATIONS = ("silu", "relu", "gelu", "swiglu")


def maskformer(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Puts the settings of the decoder, which stand in `decoder` or directly in the model, into `decoder`.

    And the field that orders the hits into `input_sort_field`.
    """
    args = ordered(args, path, notices)
    decoder = args.pop("decoder", None) or {}
    beside = not decoder
    settings = dict(decoder.get("init_args") or {}) if "class_path" in decoder else dict(decoder)
    for name in _DECODER:
        if name in args:
            agree(settings, name, args.pop(name), f"{path}.{name}", f"{path}.decoder.{name}")
            notices.move(f"{path}.{name}", f"{path}.decoder.{name}")
    tasks = settings.pop("tasks", None)
    if tasks is not None:
        agree(args, "tasks", tasks, f"{path}.decoder.tasks", f"{path}.tasks")
        notices.move(f"{path}.decoder.tasks", f"{path}.tasks")
    if "use_attn_masks" in args:
        settings["mask_attention"] = bool(args.pop("use_attn_masks")) and settings.get("mask_attention", True)

    uses = args.pop("use_query_masks", settings.pop("use_query_masks", beside))
    if not uses and "tasks" in args:
        args["tasks"] = _without_query_masks(args["tasks"], f"{path}.tasks", notices)
    for name in ("tasks", "input_nets"):
        if isinstance(args.get(name), list):
            args[name] = {"class_path": "torch.nn.ModuleList", "init_args": {"modules": args[name]}}
    if "dim" not in args:
        encoder = (args.get("encoder") or {}).get("init_args") or {}
        args["dim"] = encoder.get("dim", (settings.get("decoder_layer_config") or {}).get("dim"))
    class_path = decoder.get("class_path", "hepattn.models.MaskFormerDecoder")
    return args | {"decoder": {"class_path": class_path, "init_args": settings}}


def agree(settings: dict[str, Any], name: str, value: Any, here: str, there: str) -> None:
    """Sets an argument that stands in two places.

    Raises:
        ValueError: If it has two values.
    """
    if settings.get(name) is None:
        settings[name] = value
    elif value is not None and settings[name] != value:
        raise ValueError(
            f"{short(here)} is {shown(value)} and {short(there)} is {shown(settings[name])}: set it in one place only"
        )


def _without_query_masks(tasks: Any, path: str, notices: Notices) -> Any:
    """Tasks with `mask_queries: false`, because a decoder without query masks does not look at them."""
    if not isinstance(tasks, dict):
        return tasks
    modules = []
    for index, task in enumerate((tasks.get("init_args") or {}).get("modules") or []):
        arguments = dict(task.get("init_args") or {})
        if arguments.get("mask_queries"):
            notices.hint(f"{path}.{index}.mask_queries")
            arguments["mask_queries"] = False
        modules.append(task | {"init_args": arguments})
    return tasks | {"init_args": {"modules": modules}}


def decoder(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Moves `mask_attention` of the layers to the decoder and flattens the settings of the layers."""
    path = notices.place(f"{path}.decoder_layer_config")
    config = layer(dict(args.get("decoder_layer_config") or {}), path, notices)
    if "mask_attention" in config:
        args["mask_attention"] = bool(config.pop("mask_attention")) and args.get("mask_attention", True)
    _leave_out(config, {"hybrid_norm": False, "qkv_norm": False}, path, notices)
    return args | {"decoder_layer_config": config}


def layer(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Flattens `layer_kwargs`, `attn_kwargs` and `dense_kwargs`."""
    inside = args.pop("layer_kwargs", None) or {}
    for name in inside.keys() - args.keys():
        notices.move(f"{path}.layer_kwargs.{name}", f"{path}.{name}")
    args = inside | args
    places = {name: notices.place(f"{path}.{name}") for name in ("attn_kwargs", "dense_kwargs")}
    attention, dense = (dict(args.pop(name, None) or {}) for name in ("attn_kwargs", "dense_kwargs"))
    for name in _ATTENTION_HINTS:
        if name in attention:
            attention.pop(name)
            notices.hint(f"{places['attn_kwargs']}.{name}")
    _leave_out(attention, _ATTENTION_DIFFERS, places["attn_kwargs"], notices)
    args |= _activation(dense, places["dense_kwargs"], notices)
    _leave_out(dense, _DENSE_DIFFERS, places["dense_kwargs"], notices)
    _take(args, attention, ("num_heads", "dropout"), places["attn_kwargs"])
    _take(args, dense, ("hidden_dim_scale", "dropout"), places["dense_kwargs"])
    for name, settings in (("attn_kwargs", attention), ("dense_kwargs", dense)):
        for setting in settings:
            notices.move(f"{places[name]}.{setting}", f"{path}.{setting}")
    return args


def _take(args: dict[str, Any], settings: dict[str, Any], known: tuple[str, ...], path: str) -> None:
    for name, value in settings.items():
        if name not in known:
            near = suggestion(name, known)
            raise ValueError(f"{short(path)} does not accept '{name}'{near}; hitpool has {', '.join(known)} there")
        if args.setdefault(name, value) != value:
            raise ValueError(
                f"{short(f'{path}.{name}')} is {value}, elsewhere in the layer {args[name]}: make them equal"
            )


def _leave_out(args: dict[str, Any], same: dict[str, Any], path: str, notices: Notices) -> None:
    """Removes arguments that hitpool does not have; those with another value than `same` are listed."""
    for name, value in same.items():
        if name in args and (given := args.pop(name)) != value:
            notices.differs(f"{path}.{name}", given)


def dense(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Gives the output its default size, and the activation its name in hitpool."""
    args.setdefault("output_size", args.get("input_size"))
    return args | _activation(args, path, notices)


def _activation(dense: dict[str, Any], path: str, notices: Notices) -> dict[str, str]:
    """Takes the activation out of arguments of Dense, and gives it as hitpool's argument, unless it is the default.

    Without one it is that of hepattn's Dense when the file was written.
    """
    given = dense.pop("activation", None)
    name = notices.activation if given is None else _class_path(given).rpartition(".")[2].lower()
    if name not in _ACTIVATIONS:
        notices.differs(f"{path}.activation", _class_path(given))
        return {}
    if given is None and name != "silu":
        notices.replace("Dense without activation", f"{name}, its default before November 2025", once=True)
    return {} if name == "silu" else {"activation": name}


def _of_task(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Arguments of a task with the activation of its networks; `dense_kwargs` may say no more."""
    dense = dict(args.pop("dense_kwargs", None) or {})
    if "activation" not in args:
        args |= _activation(dense, f"{path}.dense_kwargs", notices)
    _leave_out(dense, _DENSE_DIFFERS | _DENSE_DEFAULTS, f"{path}.dense_kwargs", notices)
    _take(args, dense, ("activation",), f"{path}.dense_kwargs")
    return args


def object_classification(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Takes `dim` from `net`, if that is a Dense network of the form that hitpool's task has."""
    net = args.pop("net", None)
    if net is None:
        return _of_task(args, path, notices)
    given = {name: value for name, value in (net.get("init_args") or {}).items() if value is not None}
    args |= _activation(given, f"{path}.net", notices)
    size = given.pop("input_size", None)
    if given.pop("output_size", None) != 1 or given or not _class_path(net).endswith(".Dense") or size is None:
        raise ValueError(
            f"{short(path + '.net')}: hitpool's valid task has a Dense network from dim to 1 with one hidden layer of"
            " twice the width: give dim instead of net"
        )
    return args | {"dim": args.get("dim") or size}


def hit_mask(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Gives the threshold of mask attention its name in hitpool; with `input_constituent` it defaults to prediction's.

    The fork, whose argument is `input_hit`, has a fixed 0.1, which is hitpool's default.
    """
    threshold = args.pop("mask_attention_threshold", None)
    if threshold is None and args.get("input_constituent") is not None:
        threshold = args.get("pred_threshold", 0.5)
    args = _own(_of_task(args, path, notices), path)
    return args if threshold is None else {"mask_attn_threshold": threshold} | args


def regression(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """With `cost_weight`, which only upstream has, the task is by default scored in front of each decoder layer too.

    A target `<prefix>pt_norm`, which the fork's data module makes as pt / 200 GeV, becomes pt, learned in units of 200
    GeV: the loss is the same, and predictions are in GeV.
    """
    inverse = args.get("inverse_fields") or []
    for field in args.get("fields") or []:
        if field.endswith(_PT_NORM):
            unit = 1 / _PT_NORM_UNIT if field in inverse else _PT_NORM_UNIT
            args["standardize"] = {**(args.get("standardize") or {}), without_norm(field): [0.0, unit]}
            notices.replace(field, f"{without_norm(field)} in units of {_PT_NORM_UNIT:g} GeV")
    for name in ("fields", "inverse_fields"):
        if args.get(name):
            args[name] = [without_norm(field) for field in args[name]]
    args = _of_task(args, path, notices)
    return {"has_intermediate_loss": True} | args if "cost_weight" in args else args


def charge(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """A class of charge is a regressed field that is learned as a sign."""
    if not isinstance(field := args.pop("field", None), str):
        raise ValueError(f"{short(path)}.field: expected the name of the charge among the targets, got {field!r}")
    notices.replace(
        "ObjectChargeClassificationTask", f"a regression of {field} with sign_fields: its class and accuracy"
    )
    weight = args.pop("loss_weight", 1.0)
    return regression(args, path, notices) | {"fields": [field], "sign_fields": [field], "loss_weight": weight}


def without_norm(field: str) -> str:
    """Name of the target from which the fork's data module makes a field.

    Example:
        >>> without_norm("truthMuon_pt_norm"), without_norm("truthMuon_eta")
        ('truthMuon_pt', 'truthMuon_eta')
    """
    return field.removesuffix("_norm") if field.endswith(_PT_NORM) else field


def pooling(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Completes the three arguments of the fork's wide head, with its defaults, if one of them is given."""
    args = regression(args, path, notices)
    if any(name in args for name in WIDE):
        width = 9 * args["dim"] // 2 if isinstance(args.get("dim"), int) else None  # without dim, an error later
        defaults = {"regression_hidden_dim": width, "regression_num_layers": 3, "dropout": 0.1}
        args |= {name: value for name, value in defaults.items() if args.get(name) is None}
    return with_wide_head(_own(args, path))


def _own(args: dict[str, Any], path: str) -> dict[str, Any]:
    try:
        return own_arguments(args)
    except ValueError as error:
        raise ValueError(f"{short(path)}: {error}".lstrip(": ")) from None


def frozen_encoder(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Takes what concerns the model around the task out of the arguments of the pooled regression."""
    notices.replace("FrozenEncoderRegressionTask", "a pooled regression, model.frozen and model.network_checkpoint")
    return freezing_task(pooling(args, path, notices), short(path))


def _class_path(module: Any) -> str:
    return str(module.get("class_path", "")) if isinstance(module, dict) else str(module)
