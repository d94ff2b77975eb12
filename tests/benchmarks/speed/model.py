"""Speed of a model, where its time goes, and what the ops are worth in it; meant for a process of its own."""

import copy
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import lightning.pytorch  # noqa: F401  (it sets the levels of its loggers when it is imported)
import torch
from alternatives import expand, torch_attention
from shares import Shares, part, shares_of
from timing import medians
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hitpool.config import Objects, load
from hitpool.export import DeployedModel
from hitpool.export.torchscript import build
from hitpool.simulation import simulate

LATENCY_HITS = (60, 600)
BATCHES = 10  # that the ways in place of an op repeat

Batch = tuple[dict[str, Tensor], dict[str, Tensor]]


class Instead(TorchFunctionMode):
    """Calls other functions in place of ops while the context lasts."""

    def __init__(self, functions: Mapping[Callable, Callable]) -> None:
        super().__init__()
        self.functions = functions

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Called for every function of torch."""
        return self.functions.get(function, function)(*args, **(kwargs or {}))


WITHOUT: dict[str, dict[Callable, Callable]] = {
    "as it is": {},
    "pooling broadcast to [B, N, M, D]": {
        torch.ops.hitpool.weighted_pool: lambda logits, features, valid, threshold: expand(logits, features, valid)
    },
    "scaled_dot_product_attention": {  # which the model calls on a GPU in any case
        torch.ops.hitpool.attention: lambda query, key, value, mask, *window: torch_attention(query, key, value, mask)
    },
}


class Loops:
    """Training and inference of an untrained model, a copy of its own."""

    def __init__(self, objects: Objects, device: str) -> None:
        self.device = device
        module = copy.deepcopy(objects.model).to(device)
        self.network = module.model
        self.clip = objects.trainer.gradient_clip_val
        self.optimizer = module.make_optimizer()
        for group in self.optimizer.param_groups:
            group["lr"] = module.lrs_config.initial

    def train(self, batches: Iterable[Batch]) -> None:
        """Steps as `hitpool fit` does them, without its logging."""
        self.network.train()
        for inputs, targets in self._load(batches):
            outputs = self.network(inputs)
            with part("matching"):
                outputs = self.network.match(outputs, targets)
            with part("losses"):
                losses = self.network.loss(outputs, targets)
                terms = [value for tasks in losses.values() for terms in tasks.values() for value in terms.values()]
                loss = torch.stack(terms).sum()
            self.optimizer.zero_grad()
            with part("autograd"):
                loss.backward()
            with part("optimiser"):
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
                self.optimizer.step()

    @torch.inference_mode()
    def infer(self, batches: Iterable[Batch]) -> None:
        """Forward passes and predictions."""
        self.network.eval()
        for inputs, _ in self._load(batches):
            self.network.predict(self.network(inputs, intermediate=False))

    def _load(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        batches = iter(batches)
        while True:
            with part("loading"):
                batch = next(batches, None)
                if batch is None:
                    return
                batch = [{name: tensor.to(self.device) for name, tensor in tensors.items()} for tensors in batch]
            yield batch


def time_model(
    config: str, device: str, threads: int, events: int, rounds: int
) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, Shares]]:
    """Measures a configuration on simulated events.

    Args:
        config: Name or path.
        device: `cpu` or `cuda`.
        threads: Threads of torch.
        events: Events to simulate.
        rounds: Turns of each measurement.

    Returns:
        Quantity -> events/s, for latencies seconds; what takes the place of an op -> `training` and `inference` ->
        events/s; `training` and `inference` -> shares of the time.
    """
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        objects = prepare(config, Path(folder), events)
        data = objects.datamodule
        loops, loader = Loops(objects, device), data.train_dataloader()
        batches = list(loader)
        passes = {
            "training, loading included": lambda: loops.train(loader),
            "inference": lambda: loops.infer(batches),
            "loading": lambda: list(loader),
        }
        speeds = {name: events / seconds for name, seconds in medians(passes, rounds).items()}
        if device == "cpu":
            with torch.inference_mode():
                speeds |= medians(_latencies(objects, loops), rounds)

        calls, few = {}, batches[:BATCHES]
        for name, functions in WITHOUT.items():
            own = Loops(objects, device)
            for mode, run in (("training", own.train), ("inference", own.infer)):
                calls[name, mode] = lambda run=run, functions=functions: _run(run, functions, few)
        number = sum(len(targets["sample_id"]) for _, targets in few)
        worth: dict[str, dict[str, float]] = {}
        for (name, mode), seconds in medians(calls, rounds).items():
            worth.setdefault(name, {})[mode] = number / seconds

        runs = {"training": loops.train, "inference": loops.infer}
        shares = {mode: shares_of(loops.network, lambda run=run: run(loader), device) for mode, run in runs.items()}
    return speeds, worth, shares


def _run(run: Callable[[Iterable[Batch]], None], functions: Mapping[Callable, Callable], batches: list[Batch]) -> None:
    with Instead(functions):
        run(batches)


def prepare(config: str, folder: Path, events: int) -> Objects:
    """Data, untrained model with standardised targets, and trainer."""
    for library in ("lightning.pytorch", "lightning.fabric"):  # they tell of seeds and devices
        logging.getLogger(library).setLevel(logging.WARNING)
    simulate(folder / "events", events)
    overrides = {f"data.{split}_dir": str(folder / "events") for split in ("train", "val", "test")}
    overrides |= {"runs": str(folder / "runs"), "trainer.accelerator": "cpu", "trainer.callbacks": None}
    overrides |= {"trainer.logger": False, "trainer.enable_progress_bar": False}
    objects = load(config, overrides)
    for task in objects.model.model.tasks:
        if hasattr(task, "fit_standardization"):
            task.fit_standardization(objects.datamodule.train_targets())
    return objects


def _latencies(objects: Objects, loops: Loops) -> dict[str, Callable[[], object]]:
    """Calls on one event, by the model in Python and by the frozen TorchScript model that takes hits as on disk."""
    data, network = objects.datamodule, loops.network
    dataset, kind = data.dataset("train"), network.input_name
    columns = dataset.index.hit_columns
    model = DeployedModel(copy.deepcopy(network), data.inputs[kind], data.scale_factors, data.points, columns).eval()
    example = torch.zeros(2, 12, len(columns)), torch.ones(2, 12, dtype=torch.bool)
    exported = torch.jit.freeze(build(model.requires_grad_(False), example))
    calls = {}
    for number in LATENCY_HITS:
        hits = torch.from_numpy(dataset.sample_hits(number))[None, :number]  # [1, M, C], of several events
        valid = torch.ones(1, number, dtype=torch.bool)
        fields = zip(dataset.features.fields, dataset.features(hits).unbind(-1), strict=True)
        inputs = {f"{kind}_{name}": values for name, values in fields} | {f"{kind}_valid": valid}
        calls[f"latency of {number} hits"] = lambda inputs=inputs: loops.infer([(inputs, {})])
        calls[f"latency of {number} hits, exported"] = lambda hits=hits, valid=valid: exported(hits, valid)
    return calls
