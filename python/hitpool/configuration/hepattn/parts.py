"""The table: which class of hepattn is which of hitpool, and what becomes of its arguments.

Classes are found by their name, because hepattn has moved them between its modules. An argument that is not named
here keeps its name; if hitpool's class does not have it, that is an error as in any configuration.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hitpool.configuration.hepattn import arguments
from hitpool.configuration.hepattn.notices import Notices

Reshape = Callable[[dict[str, Any], str, Notices], dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """What becomes of a class of hepattn.

    Args:
        ours: Class path in hitpool.
        reshape: Rewrites the arguments before all else.
        hints: Arguments without meaning for hitpool: left out and listed.
        differs: Arguments of something that hitpool's class does not have: left out and listed with their value, unless
            they have the value given here, which is what hitpool does.
        only: Arguments that change what is computed, and the one value that hitpool can do.
        defaults: Defaults of hepattn where those of hitpool are others.
    """

    ours: str
    reshape: Reshape | None = None
    hints: tuple[str, ...] = ()
    differs: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


_POOLING = "hitpool.tasks.WeightedPoolingObjectHitRegressionTask"
_VALID_TASK = Part(
    "hitpool.tasks.ObjectValidTask",
    reshape=arguments.object_classification,
    hints=("class_weights",),  # hepattn uses it with several classes only
    differs={"has_first_layer_loss": True},
    only={"num_classes": 1, "has_intermediate_loss": True},
)

PARTS: dict[str, Part] = {
    "MaskFormer": Part(
        "hitpool.nn.MaskFormer",
        reshape=arguments.maskformer,
        hints=(
            "log_attn_mask",
            "raw_variables",
            "record_intermediate_embeddings",
            "dynamic_query_source",
        ),
        only={
            "pooling": None,
            "input_encoders": None,
            "cross_type_encoder": None,
            "encoder_tasks": None,
            "unified_decoding": False,
            "common_decoder_dense": False,
        },
    ),
    "MaskFormerDecoder": Part(
        "hitpool.nn.MaskFormerDecoder",
        reshape=arguments.decoder,
        hints=(
            "window_size",
            "window_wrap",
            "fast_local_ca",
            "block_size",
            "phi_shift",
            "dynamic_query_source",
            "debug",
        ),
        only={
            "posenc": None,
            "local_strided_attn": False,
            "dynamic_queries": False,
            "unmask_all_false": True,
            "unified_decoding": False,
            "intermediate_tasks": True,
        },
    ),
    "Encoder": Part(
        "hitpool.nn.Encoder",
        reshape=arguments.layer,
        hints=("attn_type",),
        differs={
            "value_residual": False,
            "hybrid_norm": False,
            "qkv_norm": False,
            "num_register_tokens": None,
            "score_mod": None,
            "layer_scale": None,
            "drop_path": 0.0,
        },
    ),
    "InputNet": Part("hitpool.nn.InputNet", differs={"input_dtype": None}, only={"add_posenc": True}),
    "Dense": Part(
        "hitpool.nn.Dense",
        reshape=arguments.dense,
        differs={"norm_input": False, "bias": True},
        only={"final_activation": None},
    ),
    "FourierPositionEncoder": Part("hitpool.nn.FourierPositionEncoder"),
    "PositionEncoder": Part("hitpool.nn.PositionEncoder", defaults={"alpha": 1000.0, "base": 100.0}),
    "Matcher": Part(
        "hitpool.nn.Matcher",
        hints=(
            "default_solver",
            "adaptive_solver",
            "adaptive_check_interval",
            "parallel_solver",
            "parallel_backend",
            "n_jobs",
            "verbose",
        ),
    ),
    "ObjectValidTask": _VALID_TASK,
    "ObjectClassificationTask": _VALID_TASK,
    "ObjectHitMaskTask": Part(
        "hitpool.tasks.ObjectHitMaskTask",
        reshape=arguments.hit_mask,
        hints=("has_intermediate_loss", "iou_loss_weight", "return_embeddings"),
        differs={"has_first_layer_loss": True},
        only={
            "object_net": None,
            "constituent_net": None,
            "logit_scale": 1.0,
            "target_field": "valid",
            "predict_iou": False,
        },
    ),
    "ObjectRegressionTask": Part("hitpool.tasks.ObjectRegressionTask", reshape=arguments.regression),
    "ObjectChargeClassificationTask": Part("hitpool.tasks.ObjectRegressionTask", reshape=arguments.charge),
    "WeightedPoolingObjectHitRegressionTask": Part(_POOLING, reshape=arguments.pooling),
    "FrozenEncoderRegressionTask": Part(_POOLING, reshape=arguments.frozen_encoder),
    "PredictionWriter": Part(
        "hitpool.evaluation.PredictionWriter",
        hints=("write_inputs", "write_outputs", "write_preds", "write_targets", "write_losses", "write_layers"),
    ),
}

DATA_MODULES = ("AtlasMuonDataModule",)
WRAPPERS = ("ModelWrapper", "TrackMLTracker")

REPLACED = {
    "CometLogger": "metrics.csv and TensorBoard",
    "MyCometLogger": "metrics.csv and TensorBoard",
    "Checkpoint": "best.ckpt and last.ckpt",
    "SaveConfig": "config.yaml",
    "Compile": "nothing (the ops are compiled)",
    "InferenceTimer": "tests/benchmarks/speed of the repository",
    "MyThroughputMonitor": "events/s in the progress bar",
    "AttnMaskLogger": "nothing",
    "GradientLoggerCallback": "nothing",
    "WeightLoggerCallback": "nothing",
}


def is_no_task(class_path: str) -> bool:
    """Whether a class of hepattn is known, but not as a task.

    Example:
        >>> is_no_task("hepattn.models.Dense"), is_no_task("hepattn.models.task.ObjectValidTask")
        (True, False)
    """
    name = class_path.rpartition(".")[2]
    known = name in PARTS and not PARTS[name].ours.startswith("hitpool.tasks.")
    return class_path.startswith("hepattn.") and (known or name in (*REPLACED, *DATA_MODULES, *WRAPPERS))


_PLACES = {"model.model": ("MaskFormer",), "trainer.callbacks": ("PredictionWriter", *REPLACED)}


def no_equal(class_path: str, path: str = "") -> str:
    """What to say of a class of hepattn that is not in the table: which classes of its place or kind are.

    Args:
        class_path: The class.
        path: Where it stands in the configuration.

    Example:
        >>> no_equal("hepattn.models.MyMatcher")
        'hitpool has no equal of hepattn.models.MyMatcher; it knows Matcher'
        >>> no_equal("hepattn.models.HitFilter", "model.model")
        'hitpool has no equal of hepattn.models.HitFilter; it knows MaskFormer'
    """
    names = sorted({*PARTS, *DATA_MODULES, *WRAPPERS, *REPLACED})
    kind = re.findall(r"[A-Z]?[a-z0-9]*", class_path.rpartition(".")[2])[-2]
    names = [name for name in names if name.endswith(kind)] or names
    names = sorted(_PLACES.get(re.sub(r"\.\d+$", "", path), names))
    return f"hitpool has no equal of {class_path}; it knows {', '.join(names)}"
