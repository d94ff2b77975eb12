from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from hitpool.config import Objects
from hitpool.evaluation.event_picture import draw, read_event


def test_the_event_is_what_is_on_disk(data_set: Path) -> None:
    metadata = yaml.safe_load((data_set / "metadata.yaml").read_text())
    names = metadata["hit_features"]
    with h5py.File(data_set / metadata["event_mapping"]["chunk_summary"][0]["h5_file"]) as file:
        hits, tracks = file["hits"][6, : file["num_hits"][6]], file["tracks"][6, : file["num_tracks"][6]]
    event = read_event(data_set, 6)
    for k, axis in enumerate("XYZ"):
        np.testing.assert_array_equal(event.low[:, k], hits[:, names.index(f"spacePoint_globEdgeLow{axis}")])
        np.testing.assert_array_equal(event.high[:, k], hits[:, names.index(f"spacePoint_globEdgeHigh{axis}")])
    np.testing.assert_array_equal(event.technology, hits[:, names.index("spacePoint_technology")])
    link = hits[:, names.index("spacePoint_truthLink")]
    np.testing.assert_array_equal(event.particle_hits, link == np.arange(len(tracks))[:, None])
    np.testing.assert_array_equal(event.pt, tracks[:, metadata["track_features"].index("truthMuon_pt")])
    assert event.probability is None


def test_probabilities_are_those_of_the_valid_tracks(data_set: Path, objects: Objects, checkpoint: Path) -> None:
    network = objects.model.model.eval()
    inputs, _ = objects.datamodule.dataset("test")[6]
    with torch.no_grad():
        preds = network.predict(network(inputs))["final"]
    valid = preds["track_valid"]["track_valid"][0]
    expected = preds["track_hit_valid"]["track_hit_valid_prob"][0][valid]
    np.testing.assert_allclose(read_event(data_set, 6, checkpoint).probability, expected, rtol=1e-5, atol=1e-6)


def test_the_picture_is_written(data_set: Path, checkpoint: Path, tmp_path: Path) -> None:
    draw(data_set, tmp_path / "docs" / "event.png", 3, checkpoint, threshold=0.0)
    assert (tmp_path / "docs" / "event.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_event_is_named(data_set: Path) -> None:
    with pytest.raises(IndexError, match=r"event 40 is not in .*: expected 0 to 39"):
        read_event(data_set, 40)
