"""Times a network of hepattn and that of hitpool for the same configuration; meant for a process of its own."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from jsonargparse import ArgumentParser
from model import BATCHES, Batch, Loops, prepare
from timing import medians
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

from hitpool.parser import objects_of
from hitpool.training import TrackingModule


class Theirs(nn.Module):
    """A network of hepattn with the methods of hitpool's; its loss finds the pairs itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.tasks = network.tasks

    def forward(self, inputs: Mapping[str, Tensor], intermediate: bool = True) -> dict:
        """Outputs of all layers in any case."""
        return self.network(dict(inputs))

    def match(self, outputs: dict, targets: dict[str, Tensor]) -> dict:
        """Leaves the outputs as they are."""
        return outputs

    def loss(self, outputs: dict, targets: dict[str, Tensor]) -> dict:
        """Losses, with targets of their own because hepattn sorts them in place."""
        losses = self.network.loss(outputs, dict(targets))
        return losses[0] if isinstance(losses, tuple) else losses  # some versions return the sorted targets, too

    def predict(self, outputs: dict) -> dict:
        """Predictions of all layers."""
        return self.network.predict(outputs)


def time_both(
    checkout: Path, config: Path, device: str, threads: int, events: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Measures both in turns on the same batches of simulated events, with hitpool's loader, optimiser and clipping.

    Args:
        checkout: Folder of hepattn's repository.
        config: A configuration of hepattn, which hitpool translates.
        device: `cpu` or `cuda`.
        threads: Threads of torch.
        events: Events to simulate.
        rounds: Turns of each measurement.

    Returns:
        What is measured -> `hepattn` and `hitpool` -> seconds for a batch. A task is measured as it is called last in
        a training step, with its gradients.
    """
    torch.set_num_threads(threads)
    sys.path.insert(0, str(checkout / "src"))
    network = _network(config)
    with tempfile.TemporaryDirectory() as folder:
        objects = prepare(str(config), Path(folder), events)
        objects.datamodule.num_workers = 0
        batches = list(objects.datamodule.train_dataloader())[:BATCHES]
        ours = objects.model
        theirs = TrackingModule(ours.name, Theirs(network), ours.optimizer, ours.lrs_config)
        loops = {"hepattn": Loops(replace(objects, model=theirs), device), "hitpool": Loops(objects, device)}
        calls: dict[tuple[str, str], Callable[[], object]] = {}
        for name, loop in loops.items():
            calls["training step", name] = lambda loop=loop: loop.train(batches)
            calls["inference", name] = lambda loop=loop: loop.infer(batches)
        tasks = {name: _calls_of_tasks(loop, batches) for name, loop in loops.items()}
        for task in tasks["hitpool"]:
            for name in loops:
                calls[f"task {task}", name] = tasks[name][task]
        times: dict[str, dict[str, float]] = {}
        for (measured, name), seconds in medians(calls, rounds).items():
            times.setdefault(measured, {})[name] = seconds / len(batches)
    return times


def _network(config: Path) -> nn.Module:
    """The network that hepattn's command line makes of a configuration."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=nn.Module, required=True)
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]
    network = settings.get("init_args", settings)["model"]
    return objects_of(parser, parser.parse_object({"model": network})).model


def _calls_of_tasks(loops: Loops, batches: list[Batch]) -> dict[str, Callable[[], object]]:
    """For each task what it was called with last in a training step, for each batch, and then its backward pass."""
    seen: dict[str, list[tuple[tuple, dict]]] = {task.name: [] for task in loops.network.tasks}
    for batch in batches:
        last: dict[str, tuple[tuple, dict]] = {}

        def keep(task: nn.Module, args: tuple, kwargs: dict, last: dict = last) -> None:
            x, *others = args
            x = {name: value for name, value in x.items() if name != "hit_projections"}  # it computes them itself
            last[task.name] = tree_map_only(Tensor, _leaf, ((x, *others), kwargs))

        hooks = [task.register_forward_pre_hook(keep, with_kwargs=True) for task in loops.network.tasks]
        loops.train([batch])
        for hook in hooks:
            hook.remove()
        for name, call in last.items():
            seen[name].append(call)
    return {task.name: lambda task=task: _run(task, seen[task.name]) for task in loops.network.tasks}


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _run(task: nn.Module, calls: list[tuple[tuple, dict]]) -> None:
    for args, kwargs in calls:
        inputs = [*_with_gradients((args, kwargs)), *task.parameters()]
        outputs = _with_gradients(task(*args, **kwargs))
        torch.autograd.grad([tensor.sum() for tensor in outputs], inputs, allow_unused=True)


def _with_gradients(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor) and leaf.requires_grad]
