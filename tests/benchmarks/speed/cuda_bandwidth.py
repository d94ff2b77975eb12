"""Memory traffic of the CUDA kernels of weighted_pool, as Nsight Compute counts it.

Two steps, which .ci/gpu does: `run` under `ncu --csv` calls the op, `table` compares what ncu wrote with what had to
move.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import hitpool

CASES = [((200, 2, 600, 32), share, dtype) for dtype in ("float32", "bfloat16") for share in (0.1, 0.2)]
CASES += [(shape, share, "float32") for shape in ((8, 64, 3000, 64), (1, 500, 10000, 128)) for share in (0.1, 0.2)]
CASES += [((1, 2000, 60000, 32), 0.0005, "float32")]
COPIED = 2**30  # bytes of the copy that measures the bandwidth

KERNELS = ("forward_kernel", "backward_logits_kernel", "backward_features_kernel")
READ, WRITTEN, DURATION = "dram__bytes_read.sum", "dram__bytes_write.sum", "gpu__time_duration.sum"
SCALES = {"byte": 1, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9, "ns": 1, "nsecond": 1, "us": 1e3, "usecond": 1e3}
SCALES |= {"ms": 1e6, "msecond": 1e6}


@dataclass
class Launch:
    """A kernel that a run launches, with the bytes that it cannot do without."""

    case: str
    kernel: str
    least: int  # every input that matters read once, every output written once
    gathered: int  # the selected feature rows, once for each track that selects them: L2 and L1 serve the repetitions


def expected_launches(case: str, logits, features, valid, threshold: float, backward: bool) -> list[Launch]:
    """What one forward (and backward) launches.

    Args:
        case: Name to show.
        logits: [B, N, M].
        features: [B, M, D].
        valid: [B, M].
        threshold: Least probability of a selected hit.
        backward: Whether the gradients follow.

    Returns:
        Launches in order.
    """
    events, tracks, _ = logits.shape
    width = features.shape[-1]
    selected = (logits.float().sigmoid() >= threshold) & valid.unsqueeze(1)  # [B, N, M]
    row = width * features.element_size()
    union = int(selected.any(1).sum()) * row
    gathered = int(selected.sum()) * row
    scores = logits.numel() * logits.element_size() + valid.numel()
    rows = events * tracks
    pooled, index, sums = rows * 4 * row, rows * 2 * width * 4, rows * 4
    launches = [Launch(case, KERNELS[0], scores + union + pooled + index * backward, gathered)]
    if backward:
        to_logits = scores + union + pooled // 2 + sums + logits.numel() * logits.element_size()
        to_features = scores + pooled + index + sums + features.numel() * features.element_size()
        launches += [Launch(case, KERNELS[1], to_logits, gathered), Launch(case, KERNELS[2], to_features, 0)]
    return launches


def read_ncu(lines: list[str]) -> list[dict[str, float | str]]:
    """Launches in the output of `ncu --csv`: name of the kernel, bytes, nanoseconds.

    Args:
        lines: The output, with one line for each metric of each launch.

    Returns:
        One dictionary per launch, in order: `kernel` and a number for each metric.

    Raises:
        ValueError: no table, or a unit that is not known.
    """
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        raise ValueError(f"expected the table of ncu --csv, got {lines[-1] if lines else 'nothing'!r}")
    launches: dict[int, dict[str, float | str]] = {}
    for entry in csv.DictReader(line for line in lines[start:] if line.startswith('"')):
        launch = launches.setdefault(int(entry["ID"]), {"kernel": entry["Kernel Name"]})
        unit = entry["Metric Unit"]
        if unit not in SCALES:
            raise ValueError(f"expected a unit of {', '.join(SCALES)} for {entry['Metric Name']}, got {unit}")
        launch[entry["Metric Name"]] = float(entry["Metric Value"].replace(",", "")) * SCALES[unit]
    return [launches[number] for number in sorted(launches)]


def markdown(expected: list[Launch], measured: list[dict[str, float | str]], copy: float) -> str:
    """The table: what each kernel moved, in what time, and how that compares with a copy.

    Args:
        expected: Launches in order.
        measured: What `read_ncu` found, in the same order.
        copy: Bandwidth of a copy, bytes read and written per second.

    Returns:
        Markdown.

    Raises:
        ValueError: other kernels were measured than were expected.
    """
    names = [launch["kernel"] for launch in measured]
    if len(names) != len(expected) or any(e.kernel not in str(n) for e, n in zip(expected, names, strict=True)):
        raise ValueError(f"expected the kernels {[launch.kernel for launch in expected]}, got {names}")
    rows = [
        f"Copy: {copy / 1e9:.0f} GB/s. Cold caches. 'least': every input that matters and every output once; "
        "'gathered': selected feature rows, once per track; share: least bytes per time, of the copy's bandwidth.",
        "",
        "| B, N, M, D | kernel | us | DRAM MB | least MB | gathered MB | least GB/s | share of copy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for launch, numbers in zip(expected, measured, strict=True):
        moved, seconds = numbers[READ] + numbers[WRITTEN], 1e-9 * numbers[DURATION]
        speed = launch.least / seconds
        rows.append(
            f"| {launch.case} | {launch.kernel.removesuffix('_kernel')} | {1e6 * seconds:.1f} | {moved / 1e6:.1f} | "
            f"{launch.least / 1e6:.1f} | {launch.gathered / 1e6:.1f} | {speed / 1e9:.0f} | {speed / copy:.2f} |"
        )
    return "\n".join(rows) + "\n"


def run(expected: Path) -> None:
    """Calls forward and backward once for each case.

    Args:
        expected: File for the launches that are expected.
    """
    from alternatives import THRESHOLD
    from ops import pool_inputs

    launches = []
    for shape, share, dtype in CASES:
        logits, features, valid = pool_inputs(shape, share, dtype, "cuda")
        name = f"{shape} {dtype} {100 * share:.3g} %"
        launches += expected_launches(name, logits, features, valid, THRESHOLD, backward=True)
        pooled = hitpool.weighted_pool(logits.requires_grad_(), features.requires_grad_(), valid, threshold=THRESHOLD)
        pooled.backward(torch.randn_like(pooled))
        torch.cuda.synchronize()
    expected.write_text(json.dumps([asdict(launch) for launch in launches]))


def copy_bandwidth() -> float:
    """Bytes per second that a copy reads and writes."""
    from timing import medians

    source = torch.zeros(COPIED, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED / medians({"copy": lambda: target.copy_(source)}, rounds=5)["copy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["run", "table"])
    parser.add_argument("--expected", type=Path, required=True)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    if arguments.step == "run":
        run(arguments.expected)
        return
    expected = [Launch(**launch) for launch in json.loads(arguments.expected.read_text())]
    print(markdown(expected, read_ncu(arguments.csv.read_text().splitlines()), copy_bandwidth()), end="")


if __name__ == "__main__":
    main()
