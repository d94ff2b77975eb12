"""`hitpool config list` and `hitpool config show` print what comes with the package."""

import pytest
import yaml

from hitpool.cli import main
from hitpool.configuration.files import packaged


def test_list(capsys: pytest.CaptureFixture) -> None:
    main(["config", "list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(packaged())
    assert any(line.startswith("muon.yaml ") and line.endswith("midpoint coordinates.") for line in lines)


@pytest.mark.parametrize("name", [*packaged(), "muon"])
def test_show_prints_the_comments_too(name: str, capsys: pytest.CaptureFixture) -> None:
    main(["config", "show", name])
    shown = capsys.readouterr().out
    assert shown.startswith("# ")
    assert yaml.safe_load(shown)["name"] == name.removesuffix(".yaml")
