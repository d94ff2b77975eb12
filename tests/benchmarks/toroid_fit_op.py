"""The toroid fit as the compiled op and in PyTorch, on the hits and logits of a finished training.

    python tests/benchmarks/toroid_fit_op.py runs/muon/version_0/ckpts/best.ckpt

Both take the same batches in turns, in one process; the table shows medians over the batches, elapsed and of processor
time, and the median ratio of the elapsed times. Then it says how far the results are apart, beside how far those of the
PyTorch form move if the last bits of the hits are flipped.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from toroid_fields import true_map

from hitpool.config import load_checkpoint
from hitpool.fits import ToroidFit
from hitpool.fits.toroid import TRACK_QUANTITIES

Batch = tuple[Tensor, Tensor, Tensor, float]
Form = Callable[..., dict[str, Tensor]]


@torch.no_grad()
def recorded(checkpoint: Path, events: int) -> tuple[ToroidFit, list[Batch]]:
    """The fit of a model and what it reads of the test events."""
    objects = load_checkpoint(checkpoint)
    network = objects.model.model.eval()
    (fit,) = (module for module in network.modules() if isinstance(module, ToroidFit))
    batches: list[Batch] = []
    handle = fit.register_forward_pre_hook(lambda _, arguments: batches.append(arguments))
    for inputs, _ in objects.datamodule.whole_dataloader("test"):
        network(inputs, intermediate=False)
        if sum(len(batch[0]) for batch in batches) >= events:
            break
    handle.remove()
    return fit, batches


def in_pytorch(fit: ToroidFit) -> ToroidFit:
    """The same fit, which never takes the op."""
    other = copy.deepcopy(fit)
    other._is_for_op = lambda *_: False
    return other


def milliseconds(run: Form, batch: Batch) -> tuple[float, float]:
    """Elapsed and processor time of one call."""
    start, processor = time.perf_counter(), time.process_time()
    run(*batch)
    return 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - processor)


@torch.no_grad()
def measure(fit: ToroidFit, batches: list[Batch]) -> str:
    """Medians of PyTorch and op, and of their ratio, batch by batch."""
    forms = in_pytorch(fit), fit
    for form in forms:
        form(*batches[0])
    times = torch.tensor([[milliseconds(form, batch) for form in forms] for batch in batches])  # [batches, 2, 2]
    elapsed, processor = times.median(dim=0).values.unbind(-1)
    gain = (times[:, 0] / times[:, 1]).median(dim=0).values[0]
    return (
        f"{elapsed[0]:.1f} | {elapsed[1]:.2f} | {gain:.1f} | {processor[0]:.1f} | {processor[1]:.2f} | "
        f"{processor[1] / len(batches[0][0]):.3f}"
    )


def flipped(hits: Tensor) -> Tensor:
    """The same hits with random last bits."""
    sign = torch.randint(-1, 2, (*hits.shape[:-1], 9)).double()
    return torch.cat([hits[..., :9] * (1 + 2.0**-52 * sign), hits[..., 9:]], dim=-1)


@torch.no_grad()
def compare(fit: ToroidFit, batches: list[Batch]) -> None:
    """Prints relative differences to the PyTorch form: of the op, and of that form with other last bits."""
    other = in_pytorch(fit)
    forms: list[dict[str, Tensor]] = []
    for hits, *rest in batches:
        hits = hits.double()
        results = other(hits, *rest), fit(hits, *rest), other(flipped(hits), *rest)
        forms.append({name: torch.stack([r[name].flatten() for r in results]) for name in TRACK_QUANTITIES})
    for name in TRACK_QUANTITIES:
        base, op, bits = torch.cat([form[name] for form in forms], dim=1)  # [T] each
        there = base != 0
        for form, values in (("op", op), ("last bits", bits)):
            apart = ((values - base) / base)[there].abs()
            quantiles = [f"{apart.quantile(q):.1e}" for q in torch.tensor([0.5, 0.99], dtype=apart.dtype)]
            print(f"| {name} | {form} | {quantiles[0]} | {quantiles[1]} | {int((apart > 1e-6).sum())} / {len(apart)} |")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    fit, batches = recorded(arguments.checkpoint, arguments.events)
    events, tracks, _ = batches[0][1].shape
    capability = torch.backends.cpu.get_cpu_capability()
    hits = statistics.median(batch[0].shape[1] for batch in batches)
    print(f"torch {torch.__version__}, {capability}, {len(batches)} batches of {events} events of {tracks} tracks")
    print(f"median of {hits:.0f} hits, max_hits {fit.max_hits}")
    print("| field | threads | PyTorch, ms | op, ms | gain | PyTorch, CPU ms | op, CPU ms | op, CPU ms per event |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        table = copy.deepcopy(fit)
        table.field = true_map(Path(temporary), 1.0)
        for field, form in (("box", fit), ("map", table)):
            for threads in arguments.threads:
                torch.set_num_threads(threads)
                print(f"| {field} | {threads} | {measure(form, batches)} |", flush=True)
    print("\n| quantity | form | median | 99 % | above 1e-6 |\n|---|---|---|---|---|")
    compare(fit, batches)


if __name__ == "__main__":
    main()
