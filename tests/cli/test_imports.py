"""What a command imports before it works: its help is quick because torch and its company are not loaded."""

import json
import os
import re
import subprocess
import sys

import pytest

from hitpool.cli import HELP, HELP_OF_PARTS, PARTS

HEAVY = {
    "torch",
    "lightning",
    "torchmetrics",
    "matplotlib",
    "mplhep",
    "scipy",
    "pandas",
    "tensorboard",
    "uproot",
    "acts",
}
FOR_OPTIONS = {"jsonargparse", "numpy", "h5py", "rich", "yaml"}
LOADED = """\
import json, sys
{statement}
print("loaded", json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
COMMAND = """
from hitpool_command import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
COMMANDS = re.findall(r"^  ([a-z]+)  ", HELP, re.MULTILINE)
HELPS = [*((command, "--help") for command in COMMANDS), *((*part, "--help") for part in PARTS)]


def loaded(statement: str, *arguments: str) -> tuple[set[str], str]:
    """Packages that are loaded after a statement, and what it printed before."""
    code = LOADED.format(statement=statement)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    output, _, names = done.stdout.rpartition("loaded ")
    return set(json.loads(names)), output


@pytest.mark.parametrize("arguments", HELPS, ids=" ".join)
def test_help_needs_no_torch(arguments: tuple[str, ...]) -> None:
    packages, output = loaded(COMMAND, *arguments)
    assert f"hitpool {' '.join(arguments[:-1])}" in output
    assert not packages & HEAVY


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("config", "--help")], ids=" ".join)
def test_overviews_need_nothing(arguments: tuple[str, ...]) -> None:
    packages, output = loaded(COMMAND, *arguments)
    assert "hitpool" in output
    assert not packages & (HEAVY | FOR_OPTIONS)


def test_the_package_registers_the_ops_and_needs_no_more() -> None:
    packages, output = loaded("import hitpool, torch; print(torch.ops.hitpool.weighted_pool)")
    assert output == "hitpool.weighted_pool\n"
    assert not packages & (HEAVY - {"torch"} | {"jsonargparse", "h5py", "yaml"})
    assert loaded("import hitpool; print(hitpool.config.load.__name__)")[1] == "load\n"


def test_every_name_that_a_package_exports_is_there() -> None:
    statement = """
from importlib import import_module
import hitpool
for package in ("hitpool", *(f"hitpool.{part}" for part in ("configuration", "data", "evaluation", "training"))):
    found = import_module(package)
    for name in found.__all__:
        assert getattr(found, name) is getattr(found, name), name
try:
    hitpool.nothing
except AttributeError as error:
    print(error)
"""
    assert loaded(statement)[1] == "module 'hitpool' has no attribute 'nothing'\n"


def test_the_first_line_comes_before_torch() -> None:
    code = "import sys; sys.modules['torch'] = None\nfrom hitpool_command import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code, "fit"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"hitpool \S+: fit, loading PyTorch\n", done.stdout)


def test_overviews_name_all_parts() -> None:
    for command, text in HELP_OF_PARTS.items():
        parts = re.findall(r"^  ([a-z]+)  ", text, re.MULTILINE)
        assert [(command, part) for part in parts] == [part for part in PARTS if part[0] == command]
    assert set(HELP_OF_PARTS) <= set(COMMANDS)


def test_python_m() -> None:
    done = subprocess.run([sys.executable, "-m", "hitpool", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"hitpool \d\S+\n", done.stdout)
