"""ROOT files and arguments that cannot be converted give an error that names them."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from hitpool.conversion import Cuts, convert, read_mapping

from .ntuples import HIT_COLUMNS, TRACK_COLUMNS, branches, make_events, write_root

pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")


def one_file(tmp_path: Path, change=None, **arguments) -> Path:
    content = branches(make_events(20, seed=4), HIT_COLUMNS, TRACK_COLUMNS)
    if change:
        change(content)
    return write_root(tmp_path / "a.root", content, **arguments)


def convert_one(tmp_path: Path, path: Path, cuts: Cuts = Cuts()) -> None:  # noqa: B008 (it is immutable)
    convert([path], tmp_path / "set", read_mapping(), cuts, 1)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_truncated_file(tmp_path, share):
    path = one_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"a.root is not readable as ROOT \(truncated or damaged\): .*[^,]$"):
        convert_one(tmp_path, path)
    assert not (tmp_path / "set").exists()


def test_missing_branch(tmp_path):
    path = one_file(tmp_path, lambda content: content.pop("spacePoint_driftR"))
    message = r"a.root: 'events' has no branch 'spacePoint_driftR'; available: .*spacePoint_time.*truthMuon_q"
    with pytest.raises(ValueError, match=message):
        convert_one(tmp_path, path)


def test_branches_of_different_lengths(tmp_path):
    path = one_file(tmp_path, lambda content: content.update(spacePoint_time=content["truthMuon_pt"]))
    with pytest.raises(
        ValueError, match=r"entry \d+ has \d values in branch 'spacePoint_time' but \d+ in 'spacePoint_g"
    ):
        convert_one(tmp_path, path)


def test_branch_that_is_no_list(tmp_path):
    path = one_file(tmp_path, lambda content: content.update(truthMuon_eta=np.zeros(20)))
    with pytest.raises(ValueError, match=r"expected a list of numbers per event in branch 'truthMuon_eta', got type"):
        convert_one(tmp_path, path)


def test_branch_of_text(tmp_path):
    import awkward as ak

    texts = ak.Array([["a", "b"]] * 20)
    path = one_file(tmp_path, lambda content: content.update(truthMuon_eta=texts), kind="RNTuple")
    with pytest.raises(ValueError, match=r"expected a list of numbers per event in branch 'truthMuon_eta', got .*stri"):
        convert_one(tmp_path, path)


def test_truth_link_to_no_track(tmp_path):
    path = one_file(tmp_path, lambda content: content.update(spacePoint_truthLink=content["spacePoint_truthLink"] + 2))
    with pytest.raises(
        ValueError, match=r"'spacePoint_truthLink': hit \d+ of entry \d+ links to track \d, expected .*track"
    ):
        convert_one(tmp_path, path)


def test_several_trees(tmp_path):
    import uproot

    path = one_file(tmp_path)
    with uproot.update(path) as file:
        file.mktree("meta", {"run": "int32"})
    with pytest.raises(ValueError, match=r"expected exactly one tree .*'tree'.*available trees: events, meta"):
        convert_one(tmp_path, path)


def test_no_event_is_left(tmp_path):
    message = (
        r"no event is left. read: 20 events, \d+ tracks; track pt >= 1000: 20 events, 0 tracks; .*hits <= 600: 0 ev"
    )
    with pytest.raises(ValueError, match=message):
        convert_one(tmp_path, one_file(tmp_path), Cuts(min_pt=1000.0))
    assert not (tmp_path / "set/metadata.yaml").exists()


def test_empty_tree(tmp_path):
    path = one_file(tmp_path, lambda content: content.update({name: array[:0] for name, array in content.items()}))
    with pytest.raises(ValueError, match=r"no event is left. The files are empty"):
        convert_one(tmp_path, path)


def test_arguments(tmp_path, ntuples):
    files, _ = ntuples
    mapping = read_mapping()
    for inputs, error, message in (
        ([], ValueError, "expected at least one ROOT file"),
        ([files[0], files[0]], ValueError, "files named more than once: .*a.root"),
        ([tmp_path / "none.root"], FileNotFoundError, "none.root does not exist"),
    ):
        with pytest.raises(error, match=message):
            convert(inputs, tmp_path / "set", mapping, Cuts(), 1)
    with pytest.raises(ValueError, match="workers: expected at least 1, got 0"):
        convert(files, tmp_path / "set", mapping, Cuts(), 0)
    without = read_mapping(write_mapping(tmp_path, {"hits": ["a"], "tracks": ["b"], "truth_link": "a"}))
    with pytest.raises(ValueError, match="min_pt needs 'pt' in the mapping, or switch it off: --min_pt null"):
        convert(files, tmp_path / "set", without, Cuts(), 1)


def write_mapping(tmp_path: Path, content) -> Path:
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "mapping.yaml"
