"""Tables of scale factors add up, in whatever form they are given."""

from pathlib import Path

import pytest
import yaml

from hitpool.config import load
from hitpool.configuration.command_line import interpret
from hitpool.configuration.files import read
from hitpool.configuration.merging import take_options
from hitpool.configuration.resolving import resolve

OPTION = "--data.scale_factors"


def parsed(*options: str) -> dict[str, float] | None:
    return resolve(interpret(None, list(options)))["data"]["scale_factors"]


@pytest.mark.parametrize(
    "options",
    [
        (f"{OPTION}.r", "0.3", f"{OPTION}.spacePoint_readOutSide=2"),
        (OPTION, "{r: 0.3, spacePoint_readOutSide: 2.0}"),
        (f"{OPTION}={{r: 3e-1}}", f"{OPTION}={{spacePoint_readOutSide: 2}}"),
        (f"{OPTION}+={{r: 0.3, spacePoint_readOutSide: 2.0}}",),
        (OPTION, "{r: 9}", f"{OPTION}.r=0.3", f"{OPTION}.spacePoint_readOutSide", "2"),
    ],
)
def test_options_add_to_the_table(options: tuple[str, ...]) -> None:
    default = load("muon.yaml").datamodule.scale_factors
    assert len(default) > 20
    assert parsed(*options) == default | {"r": 0.3, "spacePoint_readOutSide": 2.0}


def test_configurations_add_to_the_table(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"data": {"scale_factors": {"r": 0.3, "sp.x": 1e-3}}}))
    default = load("muon.yaml").datamodule.scale_factors
    configurations = ("--config=muon.yaml", f"--config={file}")
    assert parsed(*configurations) == default | {"r": 0.3, "sp.x": 1e-3}
    assert parsed(*configurations, f"{OPTION}.sp.x=2e-3") == default | {"r": 0.3, "sp.x": 2e-3}
    indexed = "--model.model.tasks.2.loss_weight=3"  # merges the files in another way
    assert parsed(*configurations, indexed, f"{OPTION}.s=7") == default | {"r": 0.3, "sp.x": 1e-3, "s": 7.0}


def test_null_forgets_what_is_before() -> None:
    assert parsed(OPTION, "null") is None
    assert parsed(f"{OPTION}=null", OPTION, "{r: 0.3}") == {"r": 0.3}


def test_a_factor_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match=r"data\.scale_factors\.r: expected a number, got abc"):
        parsed(f"{OPTION}.r=abc")


@pytest.mark.parametrize("value", ["abc", "{r: [}", "3"])
def test_wrong_values_are_left_to_the_parser(value: str) -> None:
    with pytest.raises(ValueError, match=r"data\.scale_factors"):
        parsed(f"{OPTION}={value}")


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ValueError, match=r"--data.scale_factors.r: expected a value"):
        take_options({}, [f"{OPTION}.r"])


def test_other_options_are_left_alone() -> None:
    options = ["--data.scale_factors_of_mine", "{a: 1}", "--data.batch_size=3"]
    config = {"data": None}
    assert (take_options(config, options), config) == (options, {"data": None})


def test_a_run_of_version_0_1_without_a_table_had_that_of_muons(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    fields = ["spacePoint_globEdgeLowX", "spacePoint_time", "spacePoint_driftR", "r"]
    config = {"data": {"inputs": {"hit": fields}, "scale_factors": None}}
    text = yaml.safe_dump(config)
    edges = {f"spacePoint_globEdge{end}{axis}": 1e-3 for end in ("High", "Low") for axis in "XYZ"}
    file.write_text(f"# hitpool 0.1.0\n{text}")
    assert read(file).content["data"]["scale_factors"] == edges | {"spacePoint_time": 1e-5}
    file.write_text(f"# hitpool 0.2.0\n{text}")
    assert read(file).content == config
    config["data"]["inputs"]["hit"] = ["x", "y"]
    file.write_text(f"# hitpool 0.1.0\n{yaml.safe_dump(config)}")
    assert read(file).content == config
