"""Exported models in a C++ program without Python."""

import json
import math
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EMPTY = {"PATH": os.environ.get("PATH", "")}


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


def refused(*command: str | Path) -> str:
    """The one line with which a program ends."""
    done = run(*command, env={})
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_results_are_those_of_python_from_eight_threads(programs: Path, exported: Path) -> None:
    done = run(programs / "consumer", exported, f"{exported}.check.safetensors", env={})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("11 cases agree to ")
    assert done.stdout.count("\n") == 1


def test_a_package_gives_the_same(programs: Path, package: Path) -> None:
    done = run(programs / "consumer", package, f"{package}.check.safetensors", env=EMPTY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("11 cases agree to ")


def test_other_results_are_seen(programs: Path, exported: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.safetensors"
    content = bytearray(Path(f"{exported}.check.safetensors").read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    first = start + header["3.track_probability"]["data_offsets"][0]
    content[first + 3] ^= 0x01  # a bit of the exponent
    events.write_bytes(content)
    assert "the results differ by " in refused(programs / "consumer", exported, events)


@pytest.mark.parametrize("program", ["consumer", "registered"])
def test_it_needs_no_python(programs: Path, program: str) -> None:
    libraries = [line.split()[0] for line in run("ldd", programs / program).stdout.splitlines()]
    assert "libhitpool_ops.so" in libraries
    assert [name for name in libraries if "python" in Path(name).name] == []


def test_ops_are_registered_in_a_program_that_is_only_linked_with_them(programs: Path) -> None:
    done = run(programs / "registered", env={})
    assert (done.returncode, done.stdout) == (0, "registered\n"), done.stderr


def test_one_event_of_any_strides_and_the_functions_of_the_ops(programs: Path, exported: Path) -> None:
    done = run(programs / "consumer", exported, "one-event", env={})
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split(" = ")[1]) == pytest.approx(-math.log(math.tan(0.5)), abs=1e-6)


def test_the_programs_of_the_documentation_work(programs: Path, exported: Path) -> None:
    written = sorted(programs.glob("snippets/*.cpp"))
    if not written:
        pytest.skip("no docs here: they are not in the source distribution")
    first, second = (run(programs / own.stem, exported, env={}) for own in written)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("spacePoint_globEdgeHighX [mm]\n")
    assert (second.returncode, second.stdout) == (0, "as in Python\n"), second.stderr


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("wrong-columns", "expected hits with shape [B, M, 4] or [M, 4], columns x, y, z, layer, got [2, 5, 5]"),
        ("wrong-dtype", "expected hits with dtype float32, got Double"),
        ("wrong-dims", "expected hits with shape [B, M, 4] or [M, 4], columns x, y, z, layer, got [1, 2, 5, 4]"),
        ("wrong-valid", "expected valid with shape [2, 5], one for each of the hits, got [2, 4]"),
        ("wrong-valid-dtype", "expected valid with dtype bool, got Float"),
    ],
)
def test_wrong_arguments_are_named(programs: Path, models: Path, how: str, line: str) -> None:
    assert refused(programs / "consumer", models / "small.pt", how) == f"consumer: hitpool::Model: {line}\n"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("missing.pt", "there is no such file"),
        (".", "is a folder"),
        ("text.pt", "is no exported model"),
        ("short.pt", "is no exported model"),
        ("last.ckpt", "is a checkpoint, not an exported model: hitpool export makes one of it"),
        (
            "program.pt2",
            "is a program of torch.export, which C++ cannot run: export with --format aoti or torchscript",
        ),
        ("model.onnx", "is an ONNX file, for ONNX Runtime; for this class export with --format torchscript or aoti"),
        (
            "foreign.pt",
            "uses the op elsewhere::twice, which no loaded library has: link or dlopen the library that registers it",
        ),
        ("without.pt", "has no hitpool.json: hitpool export has not written it"),
        ("damaged.pt", "its hitpool.json is damaged: JSON: expected '\"' at byte 1"),
    ],
)
def test_what_is_no_model_is_said(programs: Path, models: Path, name: str, line: str) -> None:
    path = models / name
    assert refused(programs / "consumer", path, "one-event") == f"consumer: {path}: {line}\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is too short"),
        (b"\xff" * 9, "is too short for its header"),
        (b"\x02" + 7 * b"\0" + b"{}", "JSON: no '__metadata__'"),
    ],
)
def test_damaged_check_events_are_named(
    programs: Path, models: Path, tmp_path: Path, content: bytes, line: str
) -> None:
    path = tmp_path / "events.safetensors"
    path.write_bytes(content)
    said = refused(programs / "consumer", models / "small.pt", path)
    assert said == f"consumer: {path}: holds no check events: {line}\n"


GOOD = [
    {"a": [1, -2.5e-3, 1e20, True, False, None], "b": {}, "c": [], "ä\u20ac\U0001f600": '"\\/\b\f\n\r\t\x01é'},
    [[[]], "", 0, -0.0, 123456789.125],
    "text",
]
BAD = ["", "{", "[1,]", '{"a":1,}', "{a:1}", "[1 2]", "01", "1.", ".5", "+1", "NaN", "-Infinity", "1e999", "'a'"]
BAD += ['"\t"', '"\\x"', '"\\u12"', '"\\ud800"', '"\\udc00"', '"', "[]x", "nul", "[" * 200, "// a\n1", "[]\0"]


@pytest.mark.parametrize("value", GOOD, ids=str)
@pytest.mark.parametrize("options", [{}, {"ensure_ascii": False, "indent": 1}], ids=["compact", "indented"])
def test_json_is_read(programs: Path, value: object, options: dict) -> None:
    done = run(programs / "json", input=json.dumps(value, **options))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == value


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_json_is_refused(programs: Path, text: str) -> None:
    done = run(programs / "json", input=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert " at byte " in done.stderr
