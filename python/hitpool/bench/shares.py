"""Which part of the model takes which share of a training step."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from hitpool.bench.training_step import PART, Batch, TrainingStep, part
from hitpool.nn import Matcher
from hitpool.tasks import ObjectHitMaskTask, ObjectValidTask, weighted_pooling
from hitpool.tasks.regression import RegressionTask

LOADING, REST = "loading", "rest"
Shares = dict[str, tuple[float, float]]
ENGINE = "autograd::engine::evaluate_function"


def step_shares(step: TrainingStep, batches: Iterable[Batch], skip: int = 2) -> Shares:
    """Shares of the parts in the time of training steps, loading included.

    Measured by torch.profiler. Time belongs to the innermost part that is running. An operation of the backward pass
    belongs to the part in which the forward operation with its sequence number ran.

    Args:
        step: The step to measure.
        batches: Gives batches, such as a data loader.
        skip: First batches, which are not measured.

    Returns:
        Part -> share in everything but the backward pass, share in the backward pass. All shares add up to 1.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler announces itself on the terminal
    source = iter(batches)
    for _ in range(skip):
        step(next(source))
    with labelled(step.network), profile(activities=[ProfilerActivity.CPU]) as profiler:
        while True:
            with part(LOADING):
                batch = next(source, None)
            if batch is None:
                break
            with part(REST):
                step(batch)
    return attribute(profiler.events())


def attribute(events: Iterable[FunctionEvent]) -> Shares:
    """Adds up the time of profiler events by part.

    Args:
        events: Events of one thread.

    Returns:
        As `step_shares`.
    """
    events = sorted(events, key=lambda event: event.time_range.start)
    part_of_node: dict[int, str] = {}  # sequence number of a node of the graph -> part that made it
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for event in events:
        label, node = _place(event)
        if node is None:
            if event.sequence_nr >= 0:
                part_of_node[event.sequence_nr] = label  # the last operation with a number makes the node
            seconds[label][0] += event.self_cpu_time_total
        else:
            seconds[part_of_node.get(node, label)][1] += event.self_cpu_time_total
    total = sum(map(sum, seconds.values()))
    return {part: (forward / total, backward / total) for part, (forward, backward) in seconds.items()}


def _place(event: FunctionEvent) -> tuple[str, int | None]:
    """Innermost part around an event, and the number of the graph's node if it is in the backward pass."""
    node = None
    place: FunctionEvent | None = event
    while place is not None:
        if place.name.startswith(ENGINE):
            node = place.sequence_nr
        if place.name.startswith(PART):
            return place.name.removeprefix(PART), node
        place = place.cpu_parent
    return REST, node


@contextmanager
def labelled(network: nn.Module) -> Iterator[None]:
    """Gives names to the parts of a network while the context lasts."""
    with ExitStack() as stack:

        def label(owner: Any, method: str, name: str) -> None:
            stack.enter_context(patch.object(owner, method, _named(getattr(owner, method), name)))

        label(network.input_nets[0], "forward", "input net")
        label(network.encoder, "forward", "encoder")
        label(network.decoder, "forward", "decoder")
        for layer in network.decoder.layers:
            label(layer, "forward", "decoder layers")
        label(weighted_pooling, "weighted_pool", "pooling")
        for task in network.tasks:
            name = _kind(task)
            label(task, "forward", f"{name} task")
            label(task, "loss", f"{name} loss")
        for module in network.modules():
            if isinstance(module, Matcher):
                label(module, "forward", "assignment")
        yield


def _kind(task: nn.Module) -> str:
    kinds = {ObjectValidTask: "validity", ObjectHitMaskTask: "mask", RegressionTask: "regression"}
    return next((name for kind, name in kinds.items() if isinstance(task, kind)), task.name)


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with part(name):
            return function(*args, **kwargs)

    return call
