"""What to say of a setting for which hitpool has one value only: what it does instead, and what to do."""

from typing import Any

from hitpool.configuration.hepattn.notices import short, shown

_INSTEAD = {
    "pooling": "hitpool pools hits in WeightedPoolingObjectHitRegressionTask only",
    "input_encoders": "hitpool has one kind of hits and one encoder for them, model.model.encoder",
    "cross_type_encoder": "hitpool has one kind of hits and one encoder for them, model.model.encoder",
    "encoder_tasks": "hitpool has no tasks in front of the decoder, only those of model.model.tasks",
    "unified_decoding": "hitpool decodes queries, and hits enter by attention",
    "common_decoder_dense": "each layer of hitpool's decoder has networks of its own",
    "posenc": "hitpool encodes positions in the input network, not in the decoder",
    "local_strided_attn": "each query of hitpool attends to all hits, or to those of its mask",
    "dynamic_queries": "hitpool makes queries of hits by an ObjectSeedTask, hepattn by a task of its encoder",
    "unmask_all_false": "a query of hitpool whose mask is empty attends to all hits",
    "intermediate_tasks": "hitpool's decoder asks the tasks in front of each layer for their masks",
    "add_posenc": "hitpool's input network adds the positional encoding to its output",
    "final_activation": "hitpool's Dense network ends with a linear layer",
    "num_classes": "hitpool's task tells tracks from empty slots, which is one class",
    "has_intermediate_loss": "hitpool's task is scored in front of each layer of the decoder",
    "object_net": "hitpool's mask task has networks of its own, dim wide",
    "constituent_net": "hitpool's mask task has networks of its own, dim wide",
    "logit_scale": "hitpool's mask logits are not scaled",
    "target_field": "hitpool's mask task learns which hits belong to a particle",
    "predict_iou": "hitpool's mask task predicts no overlap",
    "mtl": "hitpool adds the losses of the tasks, each times its weights",
    "dummy_data": "hitpool reads events from files, which hitpool simulate writes",
    "dummy_testing": "hitpool keeps hits without a particle",
    "anneal_strategy": "hitpool's learning rate follows cosines",
    "three_phase": "hitpool's learning rate has two phases",
}


def is_ours(value: Any, ours: Any) -> bool:
    """Whether a value means the one that hitpool has; an empty list or mapping is as good as none."""
    return bool(value == ours) or (ours is None and value in ([], {}))


def refusal(place: str, value: Any, ours: Any) -> str:
    """A line for a value that hitpool cannot do.

    Args:
        place: Path of the setting.
        value: What it is.
        ours: The only value that hitpool has.

    Example:
        >>> refusal("model.mtl", True, False)
        'model.mtl is true, but hitpool adds the losses of the tasks, each times its weights: set it to false'
    """
    name = place.rpartition(".")[2]
    advice = "remove it" if ours is None else f"set it to {shown(ours)}"
    instead = _INSTEAD.get(name, f"hitpool has {shown(ours)} only")
    return f"{short(place)} is {shown(value)}, but {instead}: {advice}"
