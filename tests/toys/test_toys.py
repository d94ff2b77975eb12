"""The invented detectors write what they promise, and their fits of the true hits are the limit."""

import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

NAMES = {  # tree; hit coordinates, link; transverse momentum, its unit in GeV, charge, eta, phi
    "solenoid": ("tracker", "hit_x", "hit_barcode", "mc_pt", 1.0, "mc_charge", "mc_eta", "mc_phi"),
    "forward": ("Spectrometer", "Digi_posX", "Digi_track", "Gen_pT", 1e-3, "Gen_q", "Gen_eta", "Gen_phi"),
}


def write(name, path, *options):
    """Runs the script of a detector."""
    subprocess.run([sys.executable, Path(__file__).with_name(f"{name}.py"), path, *options], check=True)


@pytest.fixture(scope="module", params=list(NAMES))
def toy(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("toys") / "events.root"
    write(request.param, path, "--events", "500")
    names = NAMES[request.param]
    with uproot.open(path) as file:
        return request.param, names, file[names[0]].arrays()


def test_events_have_one_to_four_tracks_and_noise(toy):
    name, (_, hit, link, pt, *_), events = toy
    assert len(events) == 500
    assert set(ak.num(events[pt]).tolist()) == {1, 2, 3, 4}
    noise = events[link] <= 0 if name == "solenoid" else events[link] < 0
    assert 4 < ak.mean(ak.sum(noise, axis=1)) < 6
    assert 7 < ak.sum(~noise) / ak.count(events[pt]) < 8
    assert ak.all(ak.num(events[hit]) == ak.num(events[link]))


def test_every_link_leads_to_a_track(toy):
    name, (_, _, link, pt, *_), events = toy
    if name == "solenoid":
        linked = events[link][events[link] > 0]
        found = ak.any(linked[:, :, None] == events["mc_barcode"][:, None, :], axis=2)
        assert ak.all(found)
    else:
        assert ak.all(events[link] < ak.num(events[pt]))


def test_fits_of_the_true_hits_have_the_errors_that_they_state(toy):
    _, (_, _, _, pt, unit, *others), events = toy
    flat = {name: np.asarray(ak.flatten(events[name]), float) for name in events.fields if events[name].ndim == 2}
    charge, eta, phi = (flat[name] for name in others)
    true = {"qpt": charge / (flat[pt] * unit), "eta": eta, "phi": phi}
    flat["fit_qpt"] = flat["fit_q"] / flat["fit_pt"]
    for quantity, values in true.items():
        residual = flat[f"fit_{quantity}"] - values
        if quantity == "phi":
            residual = np.arctan2(np.sin(residual), np.cos(residual))
        pull = residual / flat[f"fit_sigma_{quantity}"]
        assert abs(pull.mean()) < 0.15, quantity
        assert abs(pull.std() - 1) < 0.1, quantity


def test_the_same_seed_gives_the_same_events(tmp_path):
    def events(name, seed):
        path = tmp_path / name
        write("forward", path, "--events", "20", "--seed", str(seed))
        with uproot.open(path) as file:
            return file["Spectrometer"].arrays().tolist()

    assert events("a.root", 1) == events("b.root", 1)
    assert events("c.root", 2) != events("a.root", 1)
