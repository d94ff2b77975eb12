"""`hitpool bench --model`: speed of training, inference and loading at the size of the original model."""

from __future__ import annotations

import json as json_format
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from hitpool.bench.machine import describe, line
from hitpool.bench.shares import Shares, step_shares
from hitpool.bench.timing import medians
from hitpool.bench.training_step import TrainingStep, compare_pools, prepare
from hitpool.config import Objects
from hitpool.data import EventDataset
from hitpool.export.torchscript import trace
from hitpool.files import write_text
from hitpool.simulation import simulate

CONFIG = "muon_seed.yaml"  # settings of the original: 32 features, 2 + 2 layers, 8 heads, 2 queries, batches of 200
DEFAULT = "muon.yaml"
LATENCY_HITS = (60, 600)

ORIGINAL_MACHINE = "another machine: AMD EPYC, 2 cores, AVX2"
ORIGINAL = {
    ("training", 1): 147.0,
    ("training", 2): 170.0,
    ("inference", 1): 502.0,
    ("inference", 2): 521.0,
    ("loading", 1): 490.0,  # the higher end of 380 to 490
    ("latency of 60 hits", 1): 5.1e-3,
    ("latency of 600 hits", 1): 26e-3,
}
"""hepattn's MaskFormer at these settings, by quantity and threads: events/s, latencies in seconds."""


@dataclass(frozen=True)
class Speed:
    """One line of the table.

    Args:
        quantity: What was measured; those that start with `latency` are times.
        threads: Threads of torch.
        value: events/s, or seconds.
    """

    quantity: str
    threads: int
    value: float

    @property
    def is_latency(self) -> bool:
        """Whether less is better."""
        return self.quantity.startswith("latency")

    @property
    def original(self) -> float | None:
        """The same quantity of the original, if it is known."""
        return ORIGINAL.get((self.quantity.removesuffix(", exported"), self.threads))

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the original."""
        if self.original is None:
            return None
        return self.original / self.value if self.is_latency else self.value / self.original


def bench_model(threads: Sequence[int] = (1,), json: Path | None = None, events: int = 4000, repeat: int = 3) -> dict:
    """Measures the model of the original's size and the training step of the default configuration; prints tables.

    Args:
        threads: Numbers of threads.
        json: File for the numbers.
        events: Events to simulate.
        repeat: Passes over the events that count.

    Returns:
        What is written as JSON: `machine`, `speeds`, `shares` and `pools` by number of threads.
    """
    console, before = Console(), torch.get_num_threads()
    speeds: list[Speed] = []
    shares: dict[int, Shares] = {}
    pools: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="hitpool-bench-") as folder:
        sample = Path(folder) / "events"
        simulate(sample, events)
        try:
            for number in threads:
                torch.set_num_threads(number)
                objects = prepare(CONFIG, sample)
                speeds += [Speed(name, number, value) for name, value in measure(objects, repeat).items()]
                shares[number] = step_shares(TrainingStep(objects), objects.datamodule.train_dataloader())
                pools[number] = compare_pools(prepare(DEFAULT, sample), 10 * repeat)
        finally:
            torch.set_num_threads(before)
    machine = describe()
    console.print(_speed_table(speeds), _shares_table(shares), _pool_table(pools), sep="\n")
    console.print(line(machine), soft_wrap=True)
    listed = [{**asdict(speed), "original": speed.original, "ratio": speed.ratio} for speed in speeds]
    result = {"machine": machine, "speeds": listed, "shares": shares, "pools": pools}
    if json is not None:
        write_text(json, json_format.dumps(result, indent=2) + "\n")
    return result


def measure(objects: Objects, repeat: int) -> dict[str, float]:
    """Speeds of the untrained model.

    Training: loading, forward, matching, losses, backward, clipping, optimiser. Inference: forward and predictions of
    batches in memory. Latency: that of one event; exported: from hits as on disk, by the frozen TorchScript model.

    Args:
        objects: What `prepare` returned.
        repeat: Passes over the events that count.

    Returns:
        Quantity -> events/s, or seconds for latencies.
    """
    data, network, step = objects.datamodule, objects.model.model, TrainingStep(objects)
    loader = data.train_dataloader()
    batches = list(loader)

    def infer() -> None:
        network.eval()
        for inputs, _ in batches:
            predict(network, inputs)

    passes = {
        "training": lambda: [step(batch) for batch in loader],
        "inference": infer,
        "loading": lambda: sum(1 for _ in loader),
    }
    events = len(data.dataset("train"))
    speeds = {name: events / seconds for name, seconds in medians(passes, repeat).items()}

    module, metadata = trace(network, data.inputs[network.input_name], data.scale_factors, data.points)
    exported = torch.jit.freeze(module.eval())
    columns = [column["name"] for column in metadata["inputs"][0]["columns"]]
    latencies = {}
    network.eval()
    for number in LATENCY_HITS:
        hits = read_hits(data.dataset("train"), number).unsqueeze(0)  # [1, M, C]
        inputs = model_inputs(data.dataset("train"), hits)
        chosen = hits[..., [data.dataset("train").index.hit_columns.index(column) for column in columns]]
        latencies[f"latency of {number} hits"] = lambda inputs=inputs: predict(network, inputs)
        latencies[f"latency of {number} hits, exported"] = lambda hits=chosen, inputs=inputs: exported(
            hits, inputs[f"{network.input_name}_valid"]
        )
    with torch.inference_mode():
        return speeds | medians(latencies, 20 * repeat)


@torch.inference_mode()
def predict(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict:
    """Predictions of a batch.

    Args:
        network: The model, in evaluation mode.
        inputs: Fields of the hits [B, M].
    """
    return network.predict(network(inputs, intermediate=False))


def read_hits(dataset: EventDataset, number: int) -> Tensor:
    """Takes an event of a given size from the files: an event's hits, and those of the next ones until it is full.

    Args:
        dataset: The events.
        number: Hits M.

    Returns:
        Hits as on disk [M, C].
    """
    with h5py.File(dataset.index.path(0)) as file:
        counts, hits = file["num_hits"][:], []
        first = int(np.argmin(np.abs(counts - number)))
        missing = number
        for event in np.roll(np.arange(len(counts)), -first):
            hits.append(file["hits"][event, : min(counts[event], missing)])
            missing -= len(hits[-1])
            if not missing:
                break
    return torch.from_numpy(np.concatenate(hits))


def model_inputs(dataset: EventDataset, hits: Tensor) -> dict[str, Tensor]:
    """What the model takes.

    Args:
        dataset: Knows the fields.
        hits: Hits as on disk [B, M, C], none of them padding.
    """
    fields = dataset.features(hits).movedim(-1, 0).contiguous()  # [F, B, M]
    named = zip(dataset.features.fields, fields, strict=True)
    inputs = {f"{dataset.input_name}_{name}": values for name, values in named}
    return inputs | {f"{dataset.input_name}_valid": torch.ones(hits.shape[:-1], dtype=torch.bool)}


def _speed_table(speeds: Sequence[Speed]) -> Table:
    table = Table("quantity", "threads", "hitpool", "original", "ratio", title=f"Model ({CONFIG})")
    table.caption = f"original: hepattn, measured on {ORIGINAL_MACHINE}; its loading: 380 to 490 events/s"
    for speed in speeds:
        table.add_row(
            speed.quantity,
            str(speed.threads),
            _with_unit(speed, speed.value),
            "" if speed.original is None else _with_unit(speed, speed.original),
            "" if speed.ratio is None else f"{speed.ratio:.1f}x",
        )
    return table


def _with_unit(speed: Speed, value: float) -> str:
    return f"{1e3 * value:.2f} ms" if speed.is_latency else f"{value:,.0f} events/s"


def _shares_table(shares: Mapping[int, Shares]) -> Table:
    table = Table("part", title="Shares of a training step [%]: all but the backward pass + backward pass")
    table.caption = "by torch.profiler; an operation of the backward pass belongs to the part of its forward operation"
    for number in shares:
        table.add_column(f"{number} thread" + "s" * (number > 1), justify="right")
    parts = list(dict.fromkeys(part for each in shares.values() for part in each))
    for part in parts:
        cells = [each.get(part, (0.0, 0.0)) for each in shares.values()]
        table.add_row(part, *(f"{100 * sum(pair):.1f} = {100 * pair[0]:.1f} + {100 * pair[1]:.1f}" for pair in cells))
    return table


def _pool_table(pools: Mapping[int, Mapping[str, float]]) -> Table:
    table = Table("threads", "weighted_pool", "expand", "ratio", title=f"Training step ({DEFAULT}) [events/s]")
    table.caption = "expand: the pooling broadcast to [B, N, M, D]; without loading"
    for number, pool in pools.items():
        ours, theirs = pool["weighted_pool"], pool["expand"]
        table.add_row(str(number), f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}x")
    return table
