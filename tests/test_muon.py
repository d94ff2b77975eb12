"""The table of muon columns, and the configurations that stand on it."""

import pytest

from hitpool.config import load
from hitpool.muon import HITS
from hitpool.quantity import quantity_of


@pytest.mark.parametrize("name", ["muon.yaml", "muon_query.yaml"])
def test_configurations_scale_columns_as_the_table_says(name: str) -> None:
    stated = load(name).datamodule.scale_factors
    assert {column: factor for column, factor in stated.items() if column in HITS} == {
        column: known.scale for column, known in HITS.items() if known.scale != 1
    }


def test_the_settings_of_the_original_keep_its_factors() -> None:
    expected = {f"globEdge{end}{axis}": 1e-3 for end in ("High", "Low") for axis in "XYZ"}
    expected |= {"time": 1e-5, "covXX": 1e-6, "covXY": 1e-6, "covYX": 1e-6, "covYY": 1e-6}
    expected |= {"channel": 1e-3, "stationIndex": 0.1}
    stated = load("muon_seed.yaml").datamodule.scale_factors
    assert stated == {f"spacePoint_{name}": factor for name, factor in expected.items()}


def test_a_quantity_is_the_last_part_of_a_name() -> None:
    assert [quantity_of(name) for name in ("truthMuon_pt", "pt", "spacePoint_driftR")] == ["pt", "pt", "driftR"]
