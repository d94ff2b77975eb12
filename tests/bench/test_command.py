import json
import signal
from pathlib import Path

import pytest
import torch

from hitpool.bench import command, ways
from hitpool.bench.report import read_json
from hitpool.cli import main


@pytest.fixture(autouse=True)
def restore_process():
    """The command line changes the handling of a signal."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_a_tiny_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    chosen = {name: ways.WAYS[name] for name in (ways.OURS, "expand", "segments")}
    monkeypatch.setattr(ways, "WAYS", chosen)
    monkeypatch.setattr(command, "DTYPES", ("float32",))
    threads = torch.get_num_threads()
    options = ["--shapes", "4,2,50,8", "2,3,40,4", "--selected", "0.1", "0.3", "--threads", "1", "--repeat", "3"]
    files = [str(tmp_path / name) for name in ("bench.json", "bench.md", "bench.png")]
    main(["bench", *options, "--angles", "1000", "--json", files[0], "--markdown", files[1], "--plot", files[2]])
    output = capsys.readouterr().out
    assert torch.get_num_threads() == threads
    for text in (
        "weighted_pool, forward + backward",
        "(4, 2, 50, 8)",
        "gain over fastest",
        "hitpool / floor",
        "peak memory",
        "pseudorapidity of 1,000 angles",
        "of which dispatch",
        "Medians of 3 rounds",
    ):
        assert text in output
    report = read_json(tmp_path / "bench.json")
    assert {(row.case.shape, row.case.selected) for row in report.rows} == {
        ((4, 2, 50, 8), 0.1),
        ((4, 2, 50, 8), 0.3),
        ((2, 3, 40, 4), 0.1),
        ((2, 3, 40, 4), 0.3),
    }
    assert [row.note for row in report.rows if row.note] == []
    assert [way for _, way in report.memory] == list(chosen)
    assert {row.dtype for row in report.angle_rows} == {"float32"}
    assert "| hitpool |" in (tmp_path / "bench.md").read_text()
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "bench.json").read_text())["machine"]["torch"] == torch.__version__


def test_an_interrupted_run_keeps_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values_of = command.values_of

    def first_case_only(name, function, *arguments, on_step):
        for number, row in enumerate(values_of(name, function, *arguments, on_step=on_step)):
            if "(2, 3, 40, 4)" in name and number == 1:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(ways, "WAYS", {name: ways.WAYS[name] for name in (ways.OURS, "expand")})
    monkeypatch.setattr(command, "values_of", first_case_only)
    options = ["--shapes", "4,2,50,8", "2,3,40,4", "--threads", "1", "--repeat", "1", "--json"]
    with pytest.raises(SystemExit) as stop:
        main(["bench", *options, str(tmp_path / "bench.json")])
    assert stop.value.code == 130
    rows = read_json(tmp_path / "bench.json").rows
    assert {row.case.shape for row in rows} == {(4, 2, 50, 8), (2, 3, 40, 4)}
    assert [row.way for row in rows if row.case.shape == (2, 3, 40, 4)] == [ways.OURS]


def test_a_failed_measurement_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "WAYS", {"no-such-way": ways.WAYS[ways.OURS]})  # the process has the real ones
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--shapes", "4,2,50,8", "--repeat", "1"])
    expected = "the process that measures (4, 2, 50, 8) float32 20 % ended with code 1"
    assert stop.value.code == f"hitpool bench: {expected}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shapes", "large"], "--shapes large: expected main, all"),
        (["--shapes", "1,2,3,-4"], "--shapes 1,2,3,-4: expected"),
        (["--memory", "large"], "--shapes large: expected"),
        (["--threads", "0"], "--threads 0: expected at least 1"),
        (["--repeat", "0"], "--repeat 0: expected at least 1"),
        (["--selected", "0"], "--selected 0.0: expected a share"),
        (["--dtype", "int8"], "--dtype int8: expected one of"),
        (["--json", "results.txt"], "--json results.txt: expected a file ending in .json"),
    ],
)
def test_bad_options_are_named(options: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", *options])
    assert str(stop.value.code).startswith("hitpool bench: ")
    assert message in str(stop.value.code)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_said() -> None:
    with pytest.raises(SystemExit, match="--device cuda: torch sees no GPU"):
        main(["bench", "--device", "cuda"])


def test_help(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--help"])
    assert stop.value.code == 0
    output = capsys.readouterr().out
    assert "training 200,2,600,32" in output
    assert "--json FILE.json" in output
