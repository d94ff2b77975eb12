"""Imports run one way, from the command line down to the ops."""

import ast
import sys
from pathlib import Path

import pytest

import hitpool

ALLOWED = {  # what a part may import, besides itself
    "parser": "data",
    "files": "",
    "weights": "",
    "residuals": "",
    "double_majority": "",
    "muon": "quantity",
    "hits": "",
    "quantity": "",
    "ops": "",
    "simulation": "files cores muon",
    "acts": "double_majority files cores",
    "data": "ops files hits muon quantity",
    "nn": "ops hits",
    "fits": "ops nn muon",
    "tasks": "ops nn fits hits quantity residuals",
    "hepattn": "nn tasks",
    "training": "ops simulation nn fits tasks data files cores weights",
    "configuration": "parser_message muon tasks data training files weights hepattn parser",
    "commands": "configuration failure fits tasks data training files cores weights parser",
    "evaluation": "ops simulation nn tasks data training config configuration files muon quantity residuals parser "
    "double_majority acts",
    "export": "ops hits nn fits tasks data training config files muon quantity",
    "predictor": "config data export files muon",
    "inspection": "data evaluation files muon parser",
    "show": "data config draft evaluation files muon quantity configuration parser",
    "draft": "data fits files inspection muon parser",
    "conversion": "files cores parser",
}
ROOT = Path(hitpool.__file__).parent


def imported_names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_parts(path):
    return [name.split(".")[1] for name in imported_names(path) if name.startswith("hitpool.")]


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_lies_below(part):
    files = list((ROOT / part).rglob("*.py")) or [ROOT / f"{part}.py"]
    outside = {"__version__", "_lazy", "_library"}  # of any package
    for path in files:
        used = set(imported_parts(path)) - {part} - outside
        foreign = used - set(ALLOWED[part].split())
        assert not foreign, f"{path.relative_to(ROOT)} imports {sorted(foreign)}"


def test_the_format_of_data_sets_needs_no_torch():
    known = {"numpy", "h5py", "yaml", "rich", "hitpool"}
    for path in (ROOT / "files").glob("*.py"):
        used = {name.split(".")[0] for name in imported_names(path)} - sys.stdlib_module_names
        assert used <= known, f"{path.name} imports {sorted(used - known)}"
