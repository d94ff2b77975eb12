"""Times the ops of hitpool against what would be used instead, and a model, on this machine; prints Markdown.

    python tests/benchmarks/speed                                       # everything, many minutes
    python tests/benchmarks/speed --quick                               # tiny sizes: whether it works
    python tests/benchmarks/speed --tables pool --shapes 1,500,10000,128 --threads 1 2 --selected 0.1

pool: weighted_pool and other ways to pool, each checked against the reference first. memory: their peak memory beyond
the inputs. eta: pseudorapidity. attention: the op beside scaled_dot_product_attention at the shapes of the model (CPU).
model: speed of a configuration, what the ops are worth in it, and which part takes which share of the time. hepattn: a
network of hepattn and that of hitpool for one of its configurations, in turns; needs --hepattn.

Times are medians of turns that the calls take: CPU time for one thread on a machine without GPU, else wall time. On a
GPU the caches are warm.
"""

import argparse
import datetime
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from alternatives import WAYS, is_too_large
from ops import MODES, VALID, Shape, Times, measure_memory, time_angles, time_attention, time_pools
from timing import apart, show

from hitpool.cores import available_cores

SHAPES = [(200, 2, 600, 32), (200, 2, 60, 32), (32, 2, 600, 128), (8, 64, 3000, 64), (1, 2, 600, 32)]
LAYERS = {  # B, Q, K, H, E; the first three are those of muon.yaml
    "hits to hits": (100, 60, 60, 4, 8),
    "tracks to hits": (100, 2, 60, 4, 8),
    "hits to tracks": (100, 60, 2, 4, 8),
    "long events": (20, 600, 600, 4, 8),
    "narrow heads": (20, 600, 600, 8, 4),
}
FULL = {"shapes": SHAPES, "ways": WAYS, "layers": LAYERS, "angles": 10_000_000, "events": 2000, "rounds": 10}
QUICK = {
    "shapes": [(4, 2, 50, 8)],
    "ways": ("hitpool", "expand"),
    "layers": {"small": (2, 3, 10, 2, 8)},
    "angles": 1000,
    "events": 100,
    "rounds": 1,
}


def main() -> None:
    """Prints the tables as soon as they are measured."""
    options = _options()
    print(_machine(options.device), end="\n\n", flush=True)
    for threads in options.threads:
        where = "GPU" if options.device == "cuda" else f"{threads} thread{'s' * (threads > 1)}"
        for table in options.tables:
            TABLES[table](options, threads, where)


def show_pools(options: argparse.Namespace, threads: int, where: str) -> None:
    """Times of the ways to pool."""
    for dtype in options.dtype:
        for share in options.selected:
            kind = share, dtype, options.device, threads, options.rounds
            times = {str(shape): apart(time_pools, options.ways, shape, *kind) for shape in options.shapes}
            title = f"{where}, {dtype}, {100 * share:.3g} % of the hits selected, ms"
            _show_times("weighted_pool", title, "B, N, M, D", times)


def show_memory(options: argparse.Namespace, threads: int, where: str) -> None:
    """Peak memory of the ways to pool at the first shape, and what they return."""
    shape, share, dtype = options.shapes[0], options.selected[0], options.dtype[0]
    rows = []
    for way in options.ways:
        if not is_too_large(way, shape, backward=True):
            peaks, returned = apart(measure_memory, way, shape, share, dtype, options.device, threads)
            rows.append([way, *_mebibytes(peaks)])
    rows.append(["outputs, gradients", *_mebibytes(returned)])
    show(f"weighted_pool, peak memory beyond the inputs, {shape}, {where}, {dtype}, MiB", ["", *MODES], rows)


def show_angles(options: argparse.Namespace, threads: int, where: str) -> None:
    """Times of pseudorapidity."""
    kind = options.device, threads, options.rounds, not options.quick
    times = {dtype: apart(time_angles, options.angles, dtype, *kind) for dtype in ("float32", "float64")}
    _show_times(f"pseudorapidity of {options.angles:,} angles", f"{where}, ms", "", times)


def show_attention(options: argparse.Namespace, threads: int, where: str) -> None:
    """Times of attention, which has no kernel for a GPU."""
    if options.device != "cpu":
        return
    times = {
        f"{name} {shape}": apart(time_attention, shape, threads, options.rounds)
        for name, shape in options.layers.items()
    }
    _show_times("attention", f"{where}, float32, ms", "B, Q, K, H, E", times)


def show_model(options: argparse.Namespace, threads: int, where: str) -> None:
    """Speed of a configuration, what the ops are worth in it, shares of the time."""
    from model import time_model  # needs more than torch and the ops

    place = f"{options.config}, {where}"
    speeds, worth, shares = apart(time_model, options.config, options.device, threads, options.events, options.rounds)
    rows = [[name, f"{1e3 * x:.2f} ms" if "latency" in name else f"{x:,.0f} events/s"] for name, x in speeds.items()]
    show(f"speed of {place}", ["", "hitpool"], rows)
    ours, *others = worth.items()
    rows = [[name, *(f"{speed:,.0f}" for speed in row.values())] for name, row in worth.items()]
    rows += [[f"gain over {name}", *(f"{ours[1][mode] / row[mode]:.2f}" for mode in row)] for name, row in others]
    show(f"another way in place of an op, {place}, events/s", ["", *ours[1]], rows)
    training, inference = shares["training"], shares["inference"]
    rows = [
        [part, *(f"{100 * share:.2f}" for share in (*training[part], sum(inference.get(part, (0.0,)))))]
        for part in sorted(training, key=lambda part: -sum(training[part]))
    ]
    show(f"shares of the time, {place}, %", ["", "training, forward", "training, backward", "inference"], rows)


def show_hepattn(options: argparse.Namespace, threads: int, where: str) -> None:
    """Times of a network of hepattn and of hitpool's, if a checkout is given."""
    if "hepattn" not in options:
        return
    from hepattn_model import time_both

    checkout, config = options.hepattn
    times = apart(time_both, checkout, config, options.device, threads, options.events, options.rounds)
    rows = [
        [
            name,
            *(f"{1e3 * time[way]:.3f}" for way in ("hepattn", "hitpool")),
            f"{time['hepattn'] / time['hitpool']:.2f}",
        ]
        for name, time in times.items()
    ]
    show(
        f"hepattn and hitpool, {config.name}, {where}, float32, ms for a batch",
        ["", "hepattn", "hitpool", "gain"],
        rows,
    )


TABLES: dict[str, Callable[[argparse.Namespace, int, str], None]] = {
    "pool": show_pools,
    "memory": show_memory,
    "eta": show_angles,
    "attention": show_attention,
    "model": show_model,
    "hepattn": show_hepattn,
}


def _show_times(op: str, kind: str, corner: str, times: Mapping[str, Times]) -> None:
    """A table for each mode, a column for each case, and the gain over the fastest of what could be used instead."""
    for mode in MODES:
        cases = [case[mode] for case in times.values()]
        ways = dict.fromkeys(way for case in cases for way in case)
        rows = [[way, *(f"{1e3 * case[way]:.4f}" if way in case else "-" for case in cases)] for way in ways]
        gains = [min(case[way] for way in case if way not in ("hitpool", "copy")) / case["hitpool"] for case in cases]
        rows.append(["gain over fastest", *(f"{gain:.1f}" for gain in gains)])
        show(f"{op}, {mode}, {kind}", [corner, *times], rows)


def _mebibytes(sizes: Mapping[str, int]) -> list[str]:
    return [f"{sizes[mode] / 2**20:.2f}" for mode in MODES]


def _machine(device: str) -> str:
    processors = [
        line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line
    ]
    name = torch.cuda.get_device_name() if device == "cuda" else processors[0].split(": ")[1]
    threads = f"{available_cores()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{datetime.date.today()}, {name}, {threads}, torch {torch.__version__}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing compiled")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--shapes", nargs="+", type=_shape, metavar="B,N,M,D", help="of pool; memory takes the first")
    parser.add_argument("--selected", nargs="+", type=_share, default=[0.2], help="share of hits in a track")
    parser.add_argument("--dtype", nargs="+", default=["float32"], help="of the inputs of weighted_pool")
    parser.add_argument("--config", default="muon.yaml", help="configuration of the model")
    parser.add_argument(
        "--hepattn",
        nargs=2,
        type=Path,
        metavar=("CHECKOUT", "CONFIG"),
        help="folder of hepattn's repository, and one of its configurations, with an attn_type for the device",
    )
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    if "hepattn" in given and not (given["hepattn"][0] / "src/hepattn").is_dir():
        parser.error(f"--hepattn: expected a checkout with the folder src/hepattn, got {given['hepattn'][0]}")
    return argparse.Namespace(**(QUICK if given["quick"] else FULL) | given)


def _shape(text: str) -> Shape:
    if not re.fullmatch("[1-9][0-9]*(,[1-9][0-9]*){3}", text):
        raise argparse.ArgumentTypeError(f"expected four sizes B,N,M,D like 200,2,600,32, got {text}")
    return tuple(map(int, text.split(",")))


def _share(text: str) -> float:
    if not 0 < float(text) < VALID:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and {VALID}, got {text}")
    return float(text)


if __name__ == "__main__":
    main()
