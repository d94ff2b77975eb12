"""The fit in a solenoid as the compiled op and in PyTorch, on simulated tracks.

    python tests/benchmarks/solenoid_fit_op.py

Events of `--hits` hits and `--queries` queries: the hits are those of simulated helices with scattering. Half of the
queries have a track each, in barrel or disks, with up to two hits of another track; the others are duplicates. Op and
PyTorch take the same batches in turns, in one process; the table shows medians, elapsed and of processor time, and the
median ratio of the elapsed times. Then it says how far the results are apart.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hitpool.fits import SolenoidFit

sys.path.insert(0, str(Path(__file__).parents[1]))
from fits.solenoid_tracks import FIELD, simulate

Batch = tuple[Tensor, Tensor, Tensor]
Form = Callable[..., object]


def batch_of(events: int, queries: int, count: int, seed: int) -> Batch:
    """Hits [B, M, 11], logits [B, N, M] and valid [B, M]."""
    generator = torch.Generator().manual_seed(seed)
    real = queries // 2
    number = min(count // 10, real)  # tracks whose hits are all there
    own = simulate(events * number, seed=seed).hits.unflatten(0, (events, number)).flatten(1, 2)  # [B, 10 tracks, 11]
    rest = simulate(events * (count // 10 + 1), seed=seed + 1).hits.unflatten(0, (events, -1)).flatten(1, 2)
    hits = torch.cat([own, rest], dim=1)[:, :count]
    logits = torch.full((events, queries, count), -6.0, dtype=torch.float64)
    places = torch.arange(count)
    for query in range(queries):
        logits[:, query, places // 10 == query % real % number] = 3.0
        logits[:, query, torch.randperm(count, generator=generator)[:2]] = -1.0
    logits += torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    return hits, logits, torch.ones(events, count, dtype=torch.bool)


def milliseconds(run: Form, batch: Batch) -> tuple[float, float]:
    """Elapsed and processor time of one call."""
    start, processor = time.perf_counter(), time.process_time()
    run(*batch)
    return 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - processor)


@torch.no_grad()
def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=8, help="per batch")
    parser.add_argument("--queries", type=int, default=80)
    parser.add_argument("--hits", type=int, default=560)
    parser.add_argument("--batches", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    fit = SolenoidFit(FIELD)
    batches = [batch_of(arguments.events, arguments.queries, arguments.hits, seed) for seed in range(arguments.batches)]
    taken = (batches[0][1].sigmoid() >= 0.1).double().sum(-1).mean()
    tracks = arguments.events * arguments.queries
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {len(batches)} batches of")
    print(f"{arguments.events} events, {arguments.queries} queries with {taken:.1f} of {arguments.hits} hits each")
    print("| threads | PyTorch, ms | op, ms | gain | PyTorch, CPU ms | op, CPU ms | op, CPU us per track |")
    print("|---|---|---|---|---|---|---|")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        forms = fit.definition, fit
        for form in forms:
            form(*batches[0])
        times = torch.tensor([[milliseconds(form, batch) for form in forms] for batch in batches])  # [batches, 2, 2]
        elapsed, processor = times.median(dim=0).values.unbind(-1)
        gain = (times[:, 0] / times[:, 1]).median(dim=0).values[0]
        print(
            f"| {threads} | {elapsed[0]:.1f} | {elapsed[1]:.2f} | {gain:.1f} | {processor[0]:.1f} | "
            f"{processor[1]:.2f} | {1e3 * processor[1] / tracks:.1f} |"
        )
    print("\n| quantity | median | 99 % |\n|---|---|---|")
    found, expected = fit(*batches[0]), fit.definition(*batches[0])[0]
    for name, theirs in zip(fit.gives, expected.unbind(-1), strict=False):
        difference = ((found[name] - theirs).abs() / theirs.abs().clamp(min=1e-9)).flatten()
        print(f"| {name} | {difference.median():.1e} | {difference.quantile(0.99):.1e} |")


if __name__ == "__main__":
    main()
