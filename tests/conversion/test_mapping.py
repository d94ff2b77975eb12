"""Mappings of branches to columns."""

import pytest
import yaml

from hitpool.conversion import read_mapping
from hitpool.conversion.mapping import Column

GOOD = {"hits": ["x", "link"], "tracks": {"pt": {"branch": "mc_pt", "factor": 0.001}}, "truth_link": "link"}


def test_default_has_the_columns_of_the_muon_studies():
    mapping = read_mapping()
    assert len(mapping.hits) == 20
    assert all(column.name == column.branch and column.factor == 1.0 for column in (*mapping.hits, *mapping.tracks))
    assert [column.name for column in mapping.tracks] == [f"truthMuon_{name}" for name in ("pt", "eta", "phi", "q")]
    assert mapping.hits[6].name == "spacePoint_time"
    assert (mapping.truth_link, mapping.pt, mapping.eta) == ("spacePoint_truthLink", "truthMuon_pt", "truthMuon_eta")


def test_short_and_long_form(tmp_path):
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(GOOD | {"event_number": "n"}))
    mapping = read_mapping(tmp_path / "m.yaml")
    assert mapping.hits == (Column("x", "x"), Column("link", "link"))
    assert mapping.tracks == (Column("pt", "mc_pt", 0.001),)
    assert mapping.branches == ["x", "link", "mc_pt", "n"]
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(mapping.as_dict(), sort_keys=False))
    assert read_mapping(tmp_path / "again.yaml") == mapping


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "expected the keys tree, .*, got list"),
        (GOOD | {"hit": 1}, "unknown key 'hit'; known: tree, event_number, hits"),
        ({"hits": ["a"], "tracks": ["b"]}, "missing 'truth_link'"),
        (GOOD | {"truth_link": "z"}, "truth_link is 'z', expected one of x, link"),
        (GOOD | {"eta": "z"}, "eta is 'z', expected one of pt"),
        (GOOD | {"tree": 3}, "tree: expected a name, got 3"),
        (GOOD | {"hits": "x"}, "hits: expected column names with their branches, or a list of names"),
        (GOOD | {"hits": ["x", "link", "x"]}, "hits names columns more than once: x"),
        (GOOD | {"hits": ["x", 3]}, "hits: expected column names"),
        (GOOD | {"tracks": {}}, "tracks: expected column names"),
        (GOOD | {"tracks": {"pt": 3}}, r"tracks.pt: expected a branch or \{branch: name, factor: .*\}, got 3"),
        (GOOD | {"tracks": {"pt": {"branch": "a", "scale": 2}}}, "tracks.pt: expected a branch or"),
        (GOOD | {"tracks": {"pt": {"branch": "a", "factor": "1e-3"}}}, "tracks.pt.factor: expected a finite number"),
        (GOOD | {"tracks": {"pt": {"branch": "a", "unit": 3}}}, "tracks.pt.unit: expected a unit such as cm or MeV"),
    ],
)
def test_errors_name_the_key(tmp_path, content, message):
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=message):
        read_mapping(tmp_path / "m.yaml")


def test_files_that_are_no_yaml(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mapping .*none.yaml does not exist"):
        read_mapping(tmp_path / "none.yaml")
    (tmp_path / "m.yaml").write_text("a: [1\nb: }")
    with pytest.raises(ValueError, match=r"m.yaml is not readable as YAML"):
        read_mapping(tmp_path / "m.yaml")


def test_units_of_branches_become_those_of_data_sets(tmp_path):
    columns = {"x": {"branch": "x", "unit": "cm"}, "var": {"branch": "v", "unit": "um^2", "factor": 2}, "adc": "a"}
    content = {
        "hits": columns | {"link": "l"},
        "tracks": {"qpt": {"branch": "k", "unit": "1/MeV"}},
        "truth_link": "link",
    }
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    mapping = read_mapping(tmp_path / "m.yaml")
    assert mapping.units == {"x": "mm", "var": "mm^2", "qpt": "1/GeV"}
    assert [column.scale for column in (*mapping.hits, *mapping.tracks)] == [10.0, 2e-6, 1.0, 1.0, 1000.0]
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(mapping.as_dict(), sort_keys=False))
    assert read_mapping(tmp_path / "again.yaml") == mapping
