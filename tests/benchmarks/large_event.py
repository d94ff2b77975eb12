"""Time and memory of one event of tens of thousands of hits: test events on top of each other.

    python tests/benchmarks/large_event.py runs/acts_busy/version_0/ckpts/best.ckpt --events 36 --queries 2000

The network has as many queries as are asked for, which needs `dynamic_queries`. It was not trained for such density:
what it finds is not looked at.
"""

import argparse
import resource
import time
from pathlib import Path

import torch

from hitpool.config import load_checkpoint
from hitpool.hits import Hits


@torch.inference_mode()
def main() -> None:
    """Prints the sizes, the time of two runs and the largest memory of the process so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--events", type=int, default=36)
    parser.add_argument("--queries", type=int, default=2000)
    options = parser.parse_args()
    objects = load_checkpoint(options.checkpoint)
    network = objects.model.model.eval()
    network.decoder.num_queries = options.queries
    for task in network.tasks:
        if task.gives_queries:
            task.num_queries = options.queries
    inputs, targets = objects.datamodule.dataset("test")[list(range(options.events))]
    chosen = inputs.valid.flatten()
    table = inputs.table.flatten(1)[:, chosen].unsqueeze(1)  # [F, 1, M]
    event = Hits(inputs.name, inputs.fields, table, torch.ones(1, table.shape[-1], dtype=torch.bool))
    particles = int(targets[f"{network.target_object}_valid"].sum())
    print(f"{table.shape[-1]} hits of {particles} particles, {options.queries} queries, torch {torch.__version__}")
    print(f"before: {_peak():.2f} GB")
    for _ in range(2):
        start = time.perf_counter()
        outputs = network(event, intermediate=False)
        network.predict(outputs)
        print(f"{time.perf_counter() - start:.1f} s on {torch.get_num_threads()} threads, {_peak():.2f} GB")


def _peak() -> float:
    """Largest resident memory of the process so far in GB, on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
