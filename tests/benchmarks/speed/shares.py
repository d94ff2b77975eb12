"""Which part of a model takes which share of the time."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from torch import nn
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

PART = "part: "
OPS = {"hitpool::weighted_pool": "pooling", "hitpool::_weighted_pool": "pooling"}
OPS |= {"hitpool::attention": "attention", "hitpool::_attention": "attention"}
ENGINE = "autograd::engine::evaluate_function"

Shares = dict[str, tuple[float, float]]


def part(name: str) -> record_function:
    """Context in which the time belongs to a part."""
    return record_function(PART + name)


def shares_of(network: nn.Module, run: Callable[[], None], device: str) -> Shares:
    """Shares of the parts in the time of a call, by torch.profiler, after one call that does not count.

    Time belongs to the innermost part that is running. An operation of the backward pass belongs to the part in which
    the forward operation with its sequence number ran.

    Args:
        network: Its parts get names.
        run: The call.
        device: On `cuda`, the time of the kernels counts.

    Returns:
        Part -> share in all but the backward pass, share in the backward pass; together they add up to 1.
    """
    run()
    names = {network.input_nets[0]: "input net", network.encoder: "encoder", network.decoder: "decoder"}
    names |= {task: f"task {task.name}" for task in network.tasks}
    open_parts: list[record_function] = []

    def enter(module: nn.Module, _: object) -> None:
        open_parts.append(part(names[module]))
        open_parts[-1].__enter__()

    def leave(*_: object) -> None:
        open_parts.pop().__exit__(None, None, None)

    hooks = [module.register_forward_pre_hook(enter) for module in names]
    hooks += [module.register_forward_hook(leave) for module in names]
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as profiler:
        run()
    for hook in hooks:
        hook.remove()
    return attribute(profiler.events(), device)


def attribute(events: Iterable[FunctionEvent], device: str) -> Shares:
    """Adds up the time of the profiler's events by part."""
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    part_of_node: dict[int, str] = {}  # sequence number of a node of the graph -> part that made it
    calls = (event for event in events if event.device_type == DeviceType.CPU)
    for event in sorted(calls, key=lambda event: event.time_range.start):
        name, node = _place(event)
        if node is None and event.sequence_nr >= 0:
            part_of_node[event.sequence_nr] = name  # the last operation with a number makes the node
        elif node is not None and name not in OPS.values():
            name = part_of_node.get(node, name)
        time = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        seconds[name][node is not None] += time
    total = sum(map(sum, seconds.values()))
    return {name: (forward / total, backward / total) for name, (forward, backward) in seconds.items()}


def _place(event: FunctionEvent) -> tuple[str, int | None]:
    """Innermost part around an event, and the number of the graph's node if it is in the backward pass."""
    name, node = None, None
    place: FunctionEvent | None = event
    while place is not None:
        if place.name.startswith(ENGINE):
            node = place.sequence_nr
        if name is None and place.name.startswith("hitpool::"):
            name = next((kind for start, kind in OPS.items() if place.name.startswith(start)), None)
        if name is None and place.name.startswith(PART):
            name = place.name.removeprefix(PART)
        place = place.cpu_parent
    return name or "rest", node
