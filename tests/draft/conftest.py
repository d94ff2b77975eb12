from pathlib import Path

import pytest

from hitpool.cli import main

from .toys import barrel, forward


@pytest.fixture(scope="session")
def converted(tmp_path_factory) -> dict[str, Path]:
    """Data sets train, val and test of both detectors, converted as a user does it."""
    pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")
    folder = tmp_path_factory.mktemp("toys")
    for name, make in {"barrel": barrel, "forward": forward}.items():
        root, mapping = map(str, make(folder, 300))
        options = ["--input", root, "--mapping", mapping, "--output", str(folder / name), "--workers", "1"]
        main(["data", "convert", *options, "--split", "0.8", "0.1", "0.1"])
    return {name: folder / name for name in ("barrel", "forward")}
