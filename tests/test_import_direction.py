"""Imports run one way, from the command line down to the ops."""

import ast
from pathlib import Path

import pytest

import hitpool

ALLOWED = {
    "files": set(),
    "ops": set(),
    "simulation": {"files", "cores", "muon"},
    "acts": {"simulation", "files"},
    "hepattn": set(),
    "data": {"ops", "files", "hits", "muon", "quantity"},
    "nn": {"ops", "hits"},
    "fits": {"ops", "nn", "muon"},
    "tasks": {"ops", "nn", "fits", "hits", "quantity"},
    "training": {"parser_message", "ops", "simulation", "nn", "fits", "tasks", "data", "hepattn", "files", "cores"},
    "evaluation": {"ops", "simulation", "nn", "tasks", "data", "training", "config", "files", "muon", "quantity"},
    "export": {"ops", "hits", "nn", "tasks", "data", "training", "config", "files", "muon", "quantity"},
    "inspection": {"data", "evaluation", "files", "muon"},
    "conversion": {"simulation", "files", "cores"},
}
ROOT = Path(hitpool.__file__).parent


def imported_parts(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("hitpool."):
                yield name.split(".")[1]


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_lies_below(part):
    files = list((ROOT / part).rglob("*.py"))
    assert files
    outside = {"weighted_pool", "pseudorapidity", "library_path", "__version__"}  # from hitpool import ...
    for path in files:
        used = set(imported_parts(path)) - {part} - outside
        assert used <= ALLOWED[part], f"{path.relative_to(ROOT)} imports {sorted(used - ALLOWED[part])}"
