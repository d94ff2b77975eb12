"""What tests and documentation need stands in pyproject.toml twice: for users as extras, for developers as groups."""

import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["test", "docs"])
def test_an_extra_is_the_group_of_its_name(name: str) -> None:
    assert PROJECT["project"]["optional-dependencies"][name] == PROJECT["dependency-groups"][name]


def test_the_tests_have_what_data_sets_from_root_need() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras["root"]) <= set(extras["test"])
