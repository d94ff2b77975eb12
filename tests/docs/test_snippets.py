"""Every snippet of README.md and docs/ runs; commands that take minutes, and fragments, name only what exists.

A line `<!-- test: walk -->` above a snippet: it runs in one folder with the others of its kind, page after page.
A line `<!-- test: own -->`: the same in the page on somebody's own detector, with two detectors.
A line `<!-- test: NAME.yaml -->`: the commands find the snippet as a file of that name.
A line `<!-- test: program -->` above C++: tests/cpp compiles and runs it.
"""

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

import hitpool
from hitpool.conversion import read_mapping
from hitpool.data import HitDataModule

ROOT = Path(__file__).parents[2]
WALK = ["docs/training.md", "docs/deployment.md", "docs/configuration.md", "docs/data.md"]
SNIPPET = re.compile(r"(?:^<!-- test: ([\w.]+) -->\n)?^```(.*)\n([\s\S]*?)^```$", re.MULTILINE)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WITHOUT_CHECK = {"cmake", "pytest", "mkdocs", "torchrun"}  # of other projects
COMMANDS = Path(__file__).parent / "commands.py"


@dataclass(frozen=True)
class Snippet:
    """Code in a page.

    Args:
        page: Path of the page in the repository.
        line: Number of its first line.
        mark: What the comment above it says, or nothing.
        language: Word behind the backticks.
        text: The code.
    """

    page: str
    line: int
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets() -> Iterator[Snippet]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        page = path.read_text(encoding="utf-8")
        for found in SNIPPET.finditer(page):
            mark, language, text = found.groups()
            line = page.count("\n", 0, found.start(3)) + 1
            yield Snippet(str(path.relative_to(ROOT)), line, mark or "", language, text)


SNIPPETS = list(snippets())


def of(language: str) -> list[Any]:
    found = [snippet for snippet in SNIPPETS if snippet.language == language and snippet.mark not in ("walk", "own")]
    return [pytest.param(snippet, id=str(snippet)) for snippet in found]


def commands(snippet: Snippet) -> Iterator[list[str]]:
    """Commands of a shell snippet without variables, redirection and what starts them."""
    for line in snippet.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            if ">" in command:
                command = command[: command.index(">")]
            while command[0] == "srun" or re.match(r"\w+=", command[0]):
                command = command[1:]
            yield command


def test_languages_are_known() -> None:
    assert SNIPPETS
    for snippet in SNIPPETS:
        known = snippet.language in ("bash", "cmake", "cpp", "mermaid", "python", "text", "yaml")
        assert known, f"{snippet}: language {snippet.language!r} has no test"


@pytest.mark.parametrize("snippet", of("python"))
def test_python_runs(snippet: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(compile(snippet.text, str(snippet), "exec"), {})


@pytest.mark.parametrize("snippet", of("yaml"))
def test_yaml_names_what_exists(snippet: Snippet, tmp_path: Path) -> None:
    content = yaml.safe_load(snippet.text)
    if "truth_link" in content:
        (tmp_path / "mapping.yaml").write_text(snippet.text)
        read_mapping(tmp_path / "mapping.yaml")
    elif "data" in content:
        HitDataModule(**content["data"])
    elif "model" in content:
        (tmp_path / "snippet.yaml").write_text(snippet.text)
        run([COMMANDS, "check"], "fit --config muon.yaml --config snippet.yaml", tmp_path)
    else:
        assert list(check_classes(content)), f"{snippet}: there is no test for this kind of YAML"


def check_classes(node: Any) -> Iterator[str]:
    """Checks that classes exist and know the arguments that they are given; gives their names."""
    if isinstance(node, list | dict):
        for part in node if isinstance(node, list) else node.values():
            yield from check_classes(part)
    if isinstance(node, dict) and "class_path" in node:
        module, name = node["class_path"].rsplit(".", 1)
        called = getattr(importlib.import_module(module), name)
        known = ArgumentParser().add_class_arguments(called, "of", fail_untyped=False)
        for argument in node.get("init_args", {}):
            assert f"of.{argument}" in known, f"{name} has no argument {argument}"
        yield name


@pytest.mark.parametrize("snippet", of("bash"))
def test_commands_name_what_exists(snippet: Snippet) -> None:
    """Of other programs; those of hitpool are below."""
    for program, *arguments in commands(snippet):
        if program == "pip":
            for extra in re.findall(r"(?:hitpool|\.)\[(\w+)\]", " ".join(arguments)):
                assert extra in EXTRAS, f"{snippet}: no extra {extra}"
        elif program == "python" and arguments[0] == "-c":
            compile(arguments[1], str(snippet), "exec")
        elif program == "python":
            check_script(arguments, snippet)
        elif program == "hitpool-infer":
            known = (ROOT / "csrc/apps/options.cpp").read_text(encoding="utf-8")
            assert [option for option in arguments if option.startswith("--") and f'"{option}"' not in known] == []
        elif program.startswith(".ci/"):
            assert (ROOT / program).is_file(), f"{snippet}: no {program}"
        else:
            assert program == "hitpool" or program in WITHOUT_CHECK, f"{snippet}: there is no test for {program}"


def check_script(arguments: list[str], snippet: Snippet) -> None:
    """Checks that a script or module exists and that its options stand in it."""
    if arguments[0] == "-m" and arguments[1].startswith("tests."):
        path, options = ROOT / f"{arguments[1].replace('.', '/')}.py", arguments[2:]
    elif arguments[0] == "-m":
        path, options = Path(importlib.util.find_spec(arguments[1]).origin), arguments[2:]
    else:
        path, options = ROOT / arguments[0], arguments[1:]
    files = [path] if path.is_file() else list(path.glob("*.py"))
    assert files, f"{snippet}: no {path}"
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    for option in options:
        if option.startswith("--"):
            known = re.search(rf'"{option}"|\b{option[2:]}: ', source)  # argparse, or arguments of a function
            assert known, f"{snippet}: {path.name} has no option {option}"


def test_commands_of_hitpool_have_their_options(tmp_path: Path) -> None:
    for snippet in SNIPPETS:
        if snippet.mark.endswith(".yaml"):
            (tmp_path / snippet.mark).write_text(snippet.text)
    theirs = next((ROOT / "tests").rglob("hepattn_fork.yaml"))
    (tmp_path / "theirs.yaml").write_bytes(theirs.read_bytes())
    (tmp_path / "mine.yaml").write_bytes((Path(hitpool.__file__).parent / "configs" / "muon.yaml").read_bytes())
    found = [
        shlex.join(command[1:]) for item in of("bash") for command in commands(*item.values) if command[0] == "hitpool"
    ]
    assert found
    run([COMMANDS, "check"], "\n".join(dict.fromkeys(found)), tmp_path)


def test_walk(tmp_path: Path) -> None:
    """From nothing to an exported model, as the pages say."""
    if not (ROOT / "docs").is_dir():
        pytest.skip("no docs here: they are not in the source distribution")
    walk = [snippet for snippet in SNIPPETS if snippet.mark == "walk"]
    for snippet in sorted(walk, key=lambda snippet: WALK.index(snippet.page)):
        if snippet.language == "python":
            run(["-", str(hitpool.library_path())], snippet.text, tmp_path)
        else:
            lines = [shlex.join(arguments) for _, *arguments in commands(snippet)]
            run([COMMANDS, "run"], "\n".join(lines), tmp_path)


FORWARD = """
hits:
  x: {branch: Digi_posX, unit: mm}
  y: {branch: Digi_posY, unit: mm}
  z: {branch: Digi_posZ, unit: mm}
  station: Digi_station
  owner: Digi_track
tracks: {pt: {branch: Gen_pT, unit: MeV}, eta: Gen_eta, phi: Gen_phi, q: Gen_q}
truth_link: owner
"""


@pytest.mark.parametrize("detector", ["solenoid", "forward"])
def test_own_detector(detector: str, tmp_path: Path) -> None:
    """From a ROOT file to an exported model with six commands, and none but the mapping by hand."""
    if not (ROOT / "docs").is_dir():
        pytest.skip("no docs here: they are not in the source distribution")
    pytest.importorskip("uproot")
    run([ROOT / f"tests/toys/{detector}.py", "tracker.root", "--events", "600"], "", tmp_path)
    mapping = next(snippet.text for snippet in SNIPPETS if snippet.mark == "mapping.yaml")
    (tmp_path / "mapping.yaml").write_text(mapping if detector == "solenoid" else FORWARD)
    found = [command[1:] for snippet in SNIPPETS if snippet.mark == "own" for command in commands(snippet)]
    assert len(found) == 6
    run([COMMANDS, "run"], "\n".join(map(shlex.join, found)), tmp_path)
    page = Path("runs/tracker/version_0/index.html")
    written = [Path("event.png"), Path("tracker.pt"), page, page.parent / "evaluation" / page.name]
    assert [path for path in written if not (tmp_path / path).is_file()] == []
    assert hitpool.Predictor(tmp_path / "tracker.pt").units["x"] == "mm"


def run(arguments: list[str | Path], text: str, folder: Path) -> None:
    """Runs Python in the folder with the text as its input."""
    done = subprocess.run([sys.executable, *arguments], input=text, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
