"""Time weighted_pool against the plain PyTorch version, eager and compiled, in one process.

    python tests/benchmarks/weighted_pool.py [--threads 1 2] [--repeat 30]

Each row is the median over alternating calls, in milliseconds; results and gradients are compared before timing.
"""

import argparse
import platform
import statistics
import time

import torch

import hitpool
from hitpool.ops import reference

SHAPES = [(200, 2, 600, 32), (200, 2, 60, 32), (32, 2, 600, 128), (8, 64, 3000, 64), (1, 2, 600, 32)]  # B, N, M, D
SELECTED = 0.2  # share of hits with a probability of at least 0.1


def expand(logits, features, valid):
    """The usual form: broadcast to [B, N, M, D], reduce over M."""
    p = logits.sigmoid()
    selected = (p >= 0.1) & valid.unsqueeze(-2)  # [B, N, M]
    weight = torch.where(selected, p, 0.0).unsqueeze(-1)  # [B, N, M, 1]
    x = features.unsqueeze(-3)  # [B, 1, M, D]
    total = (weight * x).sum(-2)
    mean = total / weight.sum(-2).clamp_min(1e-8)
    chosen, some = selected.unsqueeze(-1), selected.any(-1, keepdim=True)
    highest = torch.where(some, torch.where(chosen, x, -torch.inf).amax(-2), 0.0)
    lowest = torch.where(some, torch.where(chosen, x, torch.inf).amin(-2), 0.0)
    return torch.stack([mean, total, highest, lowest], -2)


def make_inputs(shape):
    events, tracks, hits, features = shape
    torch.manual_seed(0)
    logits = torch.randn(events, tracks, hits)
    logits = 3 * (logits - torch.quantile(logits.flatten()[:1_000_000], 1 - SELECTED)) + torch.logit(torch.tensor(0.1))
    return logits, torch.randn(events, hits, features), torch.rand(events, hits) > 0.05


def medians(calls, repeat):
    """Median time of each call in ms; the calls take turns."""
    times = {name: [] for name in calls}
    for round_ in range(repeat + 3):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_ >= 3:
                times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def measure(shape, repeat):
    """Rows (mode, name -> ms)."""
    torch._dynamo.reset()
    logits, features, valid = make_inputs(shape)
    ways = {"hitpool": hitpool.weighted_pool, "expand": expand, "compiled expand": torch.compile(expand)}

    expected = reference.weighted_pool(logits, features, valid)
    grad = torch.randn_like(expected)
    leaves = logits.requires_grad_(), features.requires_grad_()

    def backward(way):
        return torch.autograd.grad(way(*leaves, valid), leaves, grad)

    gradients = backward(reference.weighted_pool)
    for way in ways.values():
        torch.testing.assert_close(way(*leaves, valid), expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(backward(way), gradients, rtol=1e-3, atol=1e-2)

    yield "forward + backward", medians({name: lambda way=way: backward(way) for name, way in ways.items()}, repeat)
    with torch.inference_mode():
        plain = [leaf.detach().clone() for leaf in leaves]
        yield "forward", medians({name: lambda way=way: way(*plain, valid) for name, way in ways.items()}, repeat)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, ", end="")
    print(f"torch {torch.__version__}, float32, {SELECTED:.0%} of hits selected, ms")
    print(f"{'B, N, M, D':>18} threads {'mode':>18} {'hitpool':>9} {'expand':>9} {'compiled':>9} {'gain':>6}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for shape in SHAPES:
            for mode, time_of in measure(shape, options.repeat):
                ours, eager, compiled = time_of.values()
                gain = min(eager, compiled) / ours
                print(
                    f"{shape!s:>18} {threads:>7} {mode:>18} {ours:9.3f} {eager:9.3f} {compiled:9.3f} {gain:5.1f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
