"""Time pseudorapidity against the four-op chain of torch, in one process.

    python tests/benchmarks/pseudorapidity.py [--threads 1 2] [--angles 10000000]

Medians over alternating calls, in milliseconds; the results are compared before timing.
"""

import argparse
import statistics
import time

import torch

import hitpool


def chain(theta):
    return -torch.log(torch.tan(theta / 2))


def modes(theta):
    """Mode -> (hitpool, chain, copy) to call."""
    leaf, grad = theta.clone().requires_grad_(), torch.ones_like(theta)
    return {
        "forward": (lambda: hitpool.pseudorapidity(theta), lambda: chain(theta), theta.clone),
        "forward + backward": (
            lambda: torch.autograd.grad(hitpool.pseudorapidity(leaf), leaf, grad),
            lambda: torch.autograd.grad(chain(leaf), leaf, grad),
            theta.clone,
        ),
    }


def medians(calls, repeat=15):
    """Median time of each call in ms; the calls take turns, the first two rounds do not count."""
    times = [[] for _ in calls]
    for _ in range(repeat + 2):
        for call, seconds in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return [1e3 * statistics.median(seconds[2:]) for seconds in times]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--angles", type=int, default=10_000_000)
    options = parser.parse_args()
    print(f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, {options.angles} angles, ms")
    print(f"{'dtype':>14} threads {'mode':>18} {'hitpool':>9} {'chain':>9} {'copy':>9} {'gain':>6}")
    for dtype in (torch.float32, torch.float64):
        theta = (0.02 + 3.1 * torch.rand(options.angles, dtype=torch.float64)).to(dtype)
        torch.testing.assert_close(hitpool.pseudorapidity(theta), chain(theta), rtol=1e-4, atol=1e-6)
        for threads in options.threads:
            torch.set_num_threads(threads)
            for mode, calls in modes(theta).items():
                ours, other, copy = medians(calls)
                row = f"{ours:9.2f} {other:9.2f} {copy:9.2f} {other / ours:5.1f}x"
                print(f"{dtype!s:>14} {threads:>7} {mode:>18} {row}", flush=True)


if __name__ == "__main__":
    main()
