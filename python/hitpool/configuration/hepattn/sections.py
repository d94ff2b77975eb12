"""The sections of a configuration: data, trainer, optimiser and learning rate."""

from typing import Any

from hitpool.configuration.hepattn.arguments import without_norm
from hitpool.configuration.hepattn.lacking import is_ours, refusal
from hitpool.configuration.hepattn.notices import Notices, shown
from hitpool.configuration.hepattn.parts import DATA_MODULES, REPLACED, WRAPPERS, no_equal
from hitpool.training.samples import PARTS

# that a configuration which Lightning saved lists as null
_UNSET = ("optimizer", "lr_scheduler", "return_predictions", "matmul_precision")
_DATA_HINTS = ("pin_memory", "persistent_workers", "use_smart_batching", "drop_last", "max_hits_per_batch")
_DATA_ONLY = {"dummy_testing": False}
_STATION = "spacePoint_stationIndex"
_REPORTED = {"truthMuon_pt", "truthMuon_eta", "truthMuon_phi", "truthMuon_q"}
ORIGINAL_SCALE_FACTORS = {  # which the muon fork has in its code
    **{f"spacePoint_globEdge{end}{axis}": 1e-3 for end in ("High", "Low") for axis in "XYZ"},
    "spacePoint_time": 1e-5,
    **{f"spacePoint_cov{pair}": 1e-6 for pair in ("XX", "XY", "YX", "YY")},
    "spacePoint_channel": 1e-3,
    _STATION: 0.1,
}
_ONE_CYCLE_HINTS = (
    "total_steps",
    "epochs",
    "steps_per_epoch",
    "cycle_momentum",
    "base_momentum",
    "max_momentum",
    "last_epoch",
)
_ONE_CYCLE_ONLY = {"anneal_strategy": "cos", "three_phase": False}


def translate(config: dict[str, Any], notices: Notices, gpu: bool) -> dict[str, Any]:
    """Rewrites the sections that are there; the classes inside them are left to the caller."""
    if config.pop("ckpt_path", None) is not None:
        raise ValueError(
            "ckpt_path: hitpool cannot continue a training of hepattn; remove it; its pooled regression can be the"
            " start of a new one, with --model.regression_checkpoint"
        )
    config = {name: value for name, value in config.items() if name not in _UNSET or value is not None}
    if isinstance(config.get("data"), dict):
        config["data"] = _data(_flat(config["data"], "data", DATA_MODULES), notices)
    if isinstance(config.get("trainer"), dict):
        config["trainer"] = _trainer(dict(config["trainer"]), config.get("data") or {}, notices, gpu)
    if isinstance(config.get("model"), dict):
        config["model"] = _model(_flat(config["model"], "model", WRAPPERS), notices)
    return config


def _flat(section: dict[str, Any], path: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Arguments of a section, which may be given as a class."""
    class_path = section.get("class_path")
    if class_path is None:
        return dict(section)
    if class_path.startswith("hepattn.") and class_path.rsplit(".", 1)[-1] not in known:
        raise ValueError(f"{path}.class_path: {no_equal(class_path, path)}")
    return dict(section.get("init_args") or {})


def _data(data: dict[str, Any], notices: Notices) -> dict[str, Any]:
    for name in _DATA_HINTS:
        if name in data:
            data.pop(name)
            notices.hint(f"data.{name}")
    _only(data, _DATA_ONLY, "data")
    if "event_max_num_particles" in data:
        data["max_particles"] = data.pop("event_max_num_particles")
        notices.move("data.event_max_num_particles", "data.max_particles")
    if data.pop("dummy_data", False):
        notices.replace("data.dummy_data", "simulated events (how many: --simulate.train, .val, .test)")
        data |= {f"{part}_dir": None for part in PARTS}
        data |= {name: None for name in data if name.startswith("hit_eval_")}
    fields = [str(field) for field in (data.get("inputs") or {}).get("hit") or []]
    if "scale_factors" not in data and any(field.startswith("spacePoint_") for field in fields):
        data["scale_factors"] = dict(ORIGINAL_SCALE_FACTORS)
        if _STATION in fields:
            factor = ORIGINAL_SCALE_FACTORS[_STATION]
            change = f"older code of the fork left it as it is: --data.scale_factors.{_STATION} 1"
            notices.replace(_STATION, f"{factor:g} {_STATION} ({change})")
    if isinstance(data.get("targets"), dict) and "hit" in data["targets"]:
        notices.hint("data.targets.hit")
        data["targets"] = {name: fields for name, fields in data["targets"].items() if name != "hit"}
    for name, fields in (data.get("targets") or {}).items():
        data["targets"] = data["targets"] | {name: list(dict.fromkeys(map(without_norm, fields or [])))}
    return data


def _trainer(trainer: dict[str, Any], data: dict[str, Any], notices: Notices, gpu: bool) -> dict[str, Any]:
    if "default_root_dir" in trainer:
        trainer.pop("default_root_dir")
        notices.replace("trainer.default_root_dir", "--runs")
    if trainer.get("accelerator") in ("gpu", "cuda") and not gpu:
        notices.replace(f"trainer.accelerator {trainer['accelerator']}", "auto (there is no GPU here)")
        trainer |= {"accelerator": "auto", "devices": "auto"}
    loggers = trainer.get("logger")
    if isinstance(loggers, dict):
        trainer["logger"] = None if _is_comet(loggers, notices) else loggers
    elif isinstance(loggers, list):
        trainer["logger"] = [logger for logger in loggers if not _is_comet(logger, notices)] or None
    if trainer.get("callbacks") is not None or data:
        given = trainer.get("callbacks") or []
        callbacks = list(given) if isinstance(given, list) else [given]
        names = [_class_name(callback) for callback in callbacks]
        if "PredictionWriter" not in names:
            callbacks.append({"class_path": "hitpool.evaluation.PredictionWriter"})
        if "TestReport" not in names and set((data.get("targets") or {}).get("particle") or []) >= _REPORTED:
            callbacks.append({"class_path": "hitpool.evaluation.TestReport"})
        trainer["callbacks"] = callbacks
    return trainer


def _only(section: dict[str, Any], only: dict[str, Any], path: str) -> None:
    """Takes settings out of a section for which hitpool has one value only."""
    for name, value in only.items():
        if not is_ours(given := section.pop(name, value), value):
            raise ValueError(refusal(f"{path}.{name}", given, value))


def _class_name(module: Any) -> str:
    """Name of the class of a module, which may be given as its class path alone."""
    return str(module.get("class_path") if isinstance(module, dict) else module).rsplit(".", 1)[-1]


def _is_comet(logger: Any, notices: Notices) -> bool:
    name = _class_name(logger)
    if not name.endswith("CometLogger"):
        return False
    notices.replace(name, REPLACED["CometLogger"])
    return True


def _model(model: dict[str, Any], notices: Notices) -> dict[str, Any]:
    _only(model, {"mtl": False}, "model")
    if "log_metrics_train" in model:
        model.pop("log_metrics_train")
        notices.hint("model.log_metrics_train")
    model.pop("name", None)  # comes from the name of the training
    rates = _rates(model.pop("lrs_config", None) or {}, "model.lrs_config", notices)
    rates |= _rates(model.pop("lr_scheduler", None) or {}, "model.lr_scheduler", notices)
    optimizer = model.get("optimizer")
    if isinstance(optimizer, dict):
        settings = dict(optimizer.get("init_args") or {})
        rate = settings.pop("lr", None)
        if rate is not None:
            rates.setdefault("initial", rate)
        if "weight_decay" in settings:
            rates["weight_decay"] = settings.pop("weight_decay")
        for name in settings:
            notices.differs(f"model.optimizer.{name}", settings[name])
    if optimizer is not None:
        name = _class_name(optimizer)
        model["optimizer"] = {"adamw": "AdamW", "lion": "Lion"}.get(name.lower(), name)
    if rates:
        model["lrs_config"] = rates
    return model


def _rates(config: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """The learning rate in hitpool's terms, from those of hepattn or of torch's OneCycleLR."""
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected a mapping, got {shown(config)}")
    if "class_path" not in config:
        rates = dict(config)
        if rates.pop("skip_scheduler", False):
            rates |= {"max": rates.get("initial"), "end": rates.get("initial")}
        return rates
    if not config["class_path"].endswith(".OneCycleLR"):
        raise ValueError(f"{path}.class_path: hitpool has one cycle of the learning rate (OneCycleLR) only")
    settings = dict(config.get("init_args") or {})
    for name in _ONE_CYCLE_HINTS:
        if name in settings:
            settings.pop(name)
            notices.hint(f"{path}.{name}")
    _only(settings, _ONE_CYCLE_ONLY, path)
    if "max_lr" not in settings:
        raise ValueError(f"{path}.max_lr is missing")
    highest, down, further = (
        _number(settings.pop(name, default), f"{path}.{name}")
        for name, default in (("max_lr", None), ("div_factor", 25.0), ("final_div_factor", 1e4))
    )
    rates = {"initial": highest / down, "max": highest, "end": highest / down / further}
    rates["pct_start"] = settings.pop("pct_start", 0.3)
    for name in ("pct_start", *settings):
        notices.move(f"{path}.{name}", f"model.lrs_config.{name}")
    return rates | settings


def _number(value: Any, place: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{place}: expected a number, got {shown(value)}") from None
