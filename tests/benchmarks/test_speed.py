"""The benchmark at tiny sizes, and the promise that pooling takes no memory that grows with tracks x hits."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, str(Path(__file__).with_name("speed")), "--quick"]
TESTS = Path(__file__).parents[1]
MIB = 2**20


def tables(*options: str) -> dict[str, dict[str, list[float]]]:
    """Tables that the command prints: title -> row -> numbers."""
    output = subprocess.run([*COMMAND, *options], check=True, capture_output=True, text=True).stdout
    found = {}
    for title, body in re.findall(r"(.+)\n\n\|.*\n\| ---.*\n((?:\|.*\n)+)", output):
        rows = (line.strip("| ").split(" | ") for line in body.splitlines())
        found[title] = {name: [float(cell.split()[0].replace(",", "")) for cell in cells] for name, *cells in rows}
    return found


def test_times_and_shares():
    pool, pool_step, eta, _, attention, _, speed, worth, shares = tables(
        "--tables", "pool", "eta", "attention", "model"
    ).values()
    for table, other in ((pool, "expand"), (pool_step, "expand"), (eta, "chain"), (attention, "torch")):
        assert table["hitpool"][0] > 0
        assert table["gain over fastest"][0] == pytest.approx(table[other][0] / table["hitpool"][0], rel=0.2)
    assert min(value for (value,) in speed.values()) > 0
    assert len(worth) == 5
    for mode in (0, 1):
        ratio = worth["as it is"][mode] / worth["scaled_dot_product_attention"][mode]
        assert worth["gain over scaled_dot_product_attention"][mode] == pytest.approx(ratio, abs=0.05)
    for part in ("input net", "encoder", "decoder", "attention", "pooling", "task parameter_regression"):
        assert min(shares[part]) > 0, part
    assert shares["optimiser"][1:] == [0, 0]
    assert sum(forward + backward for forward, backward, _ in shares.values()) == pytest.approx(100, abs=0.2)
    assert sum(inference for *_, inference in shares.values()) == pytest.approx(100, abs=0.2)


def test_hepattn_from_a_checkout(tmp_path: Path):
    package = tmp_path / "src/hepattn"
    package.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("hepattn_models.py"), package / "models.py")
    shutil.copy(TESTS / "hepattn/stand_ins.py", package)
    config = (TESTS / "cli/data/hepattn_upstream.yaml").read_text()
    (tmp_path / "muon.yaml").write_text(re.sub(r"hepattn\.(models|utils)(\.[a-z]+)*", "hepattn.models", config))
    (table,) = tables("--tables", "hepattn", "--hepattn", str(tmp_path), str(tmp_path / "muon.yaml")).values()
    assert list(table) == [
        "training step",
        "inference",
        *(f"task {name}" for name in ("track_valid", "track_hit_valid", "parameter_regression")),
    ]
    for theirs, ours, gain in table.values():
        assert min(theirs, ours) > 0
        assert gain == pytest.approx(theirs / ours, rel=0.1, abs=0.02)
    for task in list(table)[2:]:
        assert table[task][:2] < table["training step"][:2]


def test_no_table_of_hepattn_without_a_checkout(tmp_path: Path):
    assert tables("--tables", "hepattn") == {}
    command = [*COMMAND, "--hepattn", str(tmp_path), "muon.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert f"expected a checkout with the folder src/hepattn, got {tmp_path}" in done.stderr


def test_pooling_takes_little_more_memory_than_what_it_returns():
    tracks, hits, width = 16, 40_000, 32
    cells = tracks * hits * width * 4 / MIB  # a tensor [B, N, M, D], of which expand needs several
    outputs, gradients = tracks * 4 * width * 4 / MIB, (tracks + width) * hits * 4 / MIB
    found = tables("--tables", "memory", "--shapes", f"1,{tracks},{hits},{width}", "--threads", "1", "2")
    for threads, table in enumerate(found.values(), 1):
        scratch = threads * 16 * (hits + width) / MIB
        assert table["outputs, gradients"] == pytest.approx([outputs, outputs + gradients], abs=0.01)
        assert table["hitpool"][0] < outputs + scratch + 1
        assert table["hitpool"][1] < outputs + gradients + scratch + 1
        assert cells < table["expand"][0] < 3 * cells
        assert 3 * cells < table["expand"][1] < 6 * cells
