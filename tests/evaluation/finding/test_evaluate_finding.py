"""`hitpool evaluate` with all found tracks of a reference, on the default model with random weights."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from hitpool.config import Objects
from hitpool.data import EventDataset
from hitpool.evaluation.command import command, evaluate
from hitpool.evaluation.finding.timing import time_model
from hitpool.files import Events, FoundTracks, found_tracks_path, write_data_set, write_found_tracks
from hitpool.muon import TRUTH_LINK
from hitpool.simulation import HIT_FEATURES, TRACK_FEATURES, Settings, generate_events

FITS = ("pt", "eta", "phi", "q")
COLUMNS = (*TRACK_FEATURES, *(f"fit_{name}" for name in FITS), *(f"other_{name}" for name in FITS))
EVENTS = 160

pytestmark = pytest.mark.filterwarnings("ignore:You called `self.log")  # there is no logger


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every particle but each fifth is found, with its first hit missing; one fake in each event."""
    folder = tmp_path_factory.mktemp("fitted") / "set"
    random = np.random.default_rng(8)
    events = generate_events(random, EVENTS, Settings())
    fit, other = (events.tracks * random.normal(1, width, events.tracks.shape) for width in (1e-2, 1e-4))
    tracks = np.concatenate([events.tracks, fit, other], 1)
    tracks[::5, 4:8] = np.nan
    more = {"fit": {"milliseconds_per_event": 5.0}}
    kept = Events(events.hits, events.num_hits, tracks.astype(np.float32), events.num_tracks)
    write_data_set(folder, [kept], HIT_FEATURES, COLUMNS, {}, "test", more=more)
    link = np.split(events.hits[:, HIT_FEATURES.index(TRUTH_LINK)], np.cumsum(events.num_hits)[:-1])
    found, parameters, number = [], [], 0
    for own, count in zip(link, events.num_tracks, strict=True):
        found.append([np.flatnonzero(own < 0)[:4]])
        parameters.append([0, 0, 0, 1.0, 0.1])
        for slot in range(count):
            pt, eta, phi, q = tracks[number, 4:8]
            if number % 5:
                found[-1].append(np.flatnonzero(own == slot)[1:])
                parameters.append([0, 0, phi, 2 * np.arctan(np.exp(-eta)), q / (pt * np.cosh(eta))])
            number += 1
    hits = [own for event in found for own in event]
    stored = FoundTracks(
        np.array([len(event) for event in found]),
        np.array([len(own) for own in hits]),
        np.concatenate(hits),
        np.array(parameters),
        np.tile(1e-4 * np.eye(5), (len(hits), 1, 1)),
    )
    write_found_tracks(found_tracks_path(folder, "fit"), stored)
    return folder


@pytest.fixture(scope="module")
def stored(folder: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    output = tmp_path_factory.mktemp("out")
    evaluate(checkpoint, folder, ["fit_", "other_"], output)
    plots = {path.name for path in (output / "plots").glob("finding_*.png")}
    page = (output / "index.html").read_text()
    return json.loads((output / "finding.json").read_text()) | {"plots": plots, "page": page}


def test_the_reference_is_as_it_was_made(folder: Path, stored: dict) -> None:
    with h5py.File(folder / "data" / "events_0000.h5") as file:
        particles = int(file["num_tracks"][:].sum())
    found = particles - len(range(0, particles, 5))
    counts, rows = stored["counts"], stored["all"]["finding"]
    assert counts["events"] == EVENTS
    assert counts["particles"] == particles
    assert counts["tracks"]["fit"] == found + EVENTS
    assert counts["fakes"]["fit"] == EVENTS
    assert rows["efficiency"]["fit"]["value"] == pytest.approx(found / particles)
    assert rows["fake_rate"]["fit"]["value"] == pytest.approx(EVENTS / (found + EVENTS))
    assert rows["hit_purity"]["fit"]["value"] == 1
    assert 0.8 < rows["hit_efficiency"]["fit"]["value"] < 1
    assert set(rows["efficiency"]) == {"model", "fit"}  # of other_ there are columns alone
    assert stored["each"]["eta"]["sigma68"]["other"]["value"] < 1e-3
    assert stored["each"]["phi"]["sigma68"]["fit"]["value"] > 1e-3
    assert stored["units"]["phi"] == "rad"


def test_the_model_is_measured_without_its_matching(folder: Path, stored: dict, objects: Objects) -> None:
    network = objects.model.model.eval()
    options = {"scale_factors": objects.datamodule.scale_factors, "max_particles": 2}
    dataset = EventDataset(folder, {"hit": objects.datamodule.inputs["hit"]}, objects.datamodule.targets, **options)
    inputs, targets = dataset[list(range(EVENTS))]
    with torch.no_grad():
        preds = network.predict(network(inputs))["final"]
    named = {name: tensor.numpy() for task in preds.values() for name, tensor in task.items()}
    found, fakes = set(), 0
    for event in range(EVENTS):
        for query in np.flatnonzero(named["track_valid"][event]):
            hits = named["track_hit_valid"][event, query] & targets["hit_valid"][event].numpy()
            own = [targets["particle_hit_valid"][event, i].numpy() for i in range(2)]
            belongs = [2 * (hits & o).sum() > max(hits.sum(), o.sum()) for o in own]
            found |= {(event, i) for i in range(2) if belongs[i]}
            fakes += not any(belongs)
    counts = stored["counts"]
    assert counts["tracks"]["model"] == named["track_valid"].sum()
    assert counts["fakes"]["model"] == fakes
    efficiency = stored["all"]["finding"]["efficiency"]["model"]["value"]
    assert efficiency == pytest.approx(len(found) / counts["particles"])


def test_times_stand_side_by_side(stored: dict) -> None:
    times = stored["milliseconds_per_event"]
    assert times["fit"] == 5.0
    assert times["model"]["batched"] > 0
    assert times["model"]["single"] > 0
    assert 1 < times["model"]["batch_size"] <= 16
    assert "ms per event, one at a time" in stored["page"]


def test_it_is_drawn_and_on_the_page(stored: dict) -> None:
    for measure in ("efficiency", "fake_rate", "duplicate_rate"):
        assert {f"finding_{measure}_{variable}.png" for variable in ("pt", "eta", "density", "delta_r")} <= stored[
            "plots"
        ]
    assert "Track finding [%], in bins of pT [GeV]" in stored["page"]
    assert "more than half of the hits of the track are the particle" in stored["page"]
    assert list(stored["bins"]) == ["pt", "eta", "density", "delta_r", "hits"]  # there is no z0


def test_the_command_takes_several_references(
    folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitpool.evaluation.measurement.draw_all", lambda *arguments: {})
    options = ["--checkpoint", str(checkpoint), "--data", str(folder), "--output", str(tmp_path)]
    command([*options, "--reference", "other_", "fit_"])()
    printed = " ".join(capsys.readouterr().out.split())
    assert "resolution.json, finding.json, index.html" in printed
    assert "fit: 5 ms; the model does" in printed
    rows = json.loads((tmp_path / "resolution.json").read_text())["all"]
    assert list(rows["eta"]["sigma68"]) == ["model", "true hits", "fit hits", "other", "fit"]


def test_a_reference_without_found_tracks_has_columns_alone(
    folder: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitpool.evaluation.measurement.draw_all", lambda *arguments: {})
    evaluate(checkpoint, folder, ["other_"], tmp_path)
    assert not (tmp_path / "finding.json").exists()


def test_hits_that_a_filter_drops_are_missing(
    folder: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitpool.evaluation.measurement.draw_all", lambda *arguments: {})
    with h5py.File(folder / "data" / "events_0000.h5") as data, h5py.File(tmp_path / "eval.h5", "w") as file:
        for event, count in enumerate(data["num_hits"]):
            file[f"{event}/preds/final/hit_filter/hit_on_valid_particle"] = (np.arange(count) % 3 == 0)[None]
    evaluate(checkpoint, folder, ["fit_"], tmp_path / "out", hit_eval=tmp_path / "eval.h5")
    rows = json.loads((tmp_path / "out" / "finding.json").read_text())["all"]["finding"]
    assert rows["efficiency"]["model"]["value"] == 0  # a third of the hits of a particle is no majority
    assert rows["efficiency"]["fit"]["value"] == pytest.approx(0.8, abs=0.01)  # it had all hits


def test_a_damaged_file_of_tracks_is_named(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    (folder / "other.h5").write_bytes(b"no HDF5")
    try:
        with pytest.raises(ValueError, match=r"other.h5 is not readable as HDF5"):
            evaluate(checkpoint, folder, ["other_"], tmp_path)
    finally:
        (folder / "other.h5").unlink()


def test_timing_leaves_the_number_of_threads(objects: Objects) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        measured = time_model(objects)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert measured.batched > 0
    assert measured.single > 0
