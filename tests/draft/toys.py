"""Two invented detectors in ROOT, with names and units of their own, and the mappings that convert them."""

from pathlib import Path

import numpy as np
import yaml

BARREL = {
    "hits": {
        "x": {"branch": "rec_x", "unit": "cm"},
        "y": {"branch": "rec_y", "unit": "cm"},
        "z": {"branch": "rec_z", "unit": "cm"},
        "layer": "rec_layer",
        "adc": "rec_adc",
        "owner": "rec_barcode",
    },
    "tracks": {"pt": {"branch": "gen_mom", "unit": "MeV"}, "eta": "gen_eta", "phi": "gen_phi", "q": "gen_charge"},
    "truth_link": "owner",
    "track_id": "gen_barcode",
}
FORWARD = {
    "hits": {
        "hitX": {"branch": "hitX", "unit": "mm"},
        "hitY": {"branch": "hitY", "unit": "mm"},
        "hitZ": {"branch": "hitZ", "unit": "mm"},
        "plane": "plane",
        "link": "link",
    },
    "tracks": {"slope_x": "tx", "slope_y": "ty", "p": {"branch": "mom", "unit": "GeV"}, "charge": "charge"},
    "truth_link": "link",
}
RADII = np.array([5.0, 10.0, 20.0, 35.0, 50.0, 70.0, 90.0])  # cm
FIELD = 1.6  # T
PLANES = np.array([300.0, 450.0, 600.0, 1500.0, 1800.0, 2100.0])  # mm, the dipole lies in the middle


def barrel(folder: Path, events: int, seed: int = 0) -> tuple[Path, Path]:
    """Cylinders in a solenoid: cm, MeV, tracks by identifiers that are no numbers of tracks; the ROOT file, mapping."""
    random = np.random.default_rng(seed)
    content: dict[str, list] = {name: [] for name in (*_branches(BARREL), "gen_barcode")}
    for _ in range(events):
        n = int(random.integers(1, 4))
        pt, eta = np.exp(random.uniform(np.log(0.7), np.log(20.0), n)), random.uniform(-1.2, 1.2, n)
        phi, charge = random.uniform(-np.pi, np.pi, n), random.choice([-1.0, 1.0], n)
        barcode = random.permutation(np.arange(10_000, 10_100))[:n]
        radius = pt / (0.2998 * FIELD) * 100  # cm
        half = np.arcsin(RADII / (2 * radius[:, None]))  # [n, layers]
        azimuth = phi[:, None] - charge[:, None] * half
        z = 2 * radius[:, None] * half * np.sinh(eta)[:, None]
        place = np.stack([RADII * np.cos(azimuth), RADII * np.sin(azimuth), z], -1) + random.normal(
            0, 0.01, (*z.shape, 3)
        )
        layer, owner = np.broadcast_to(np.arange(len(RADII)), z.shape), np.broadcast_to(barcode[:, None], z.shape)
        noise = random.uniform(-90, 90, (3, 3))
        place = np.concatenate([place.reshape(-1, 3), noise])
        hits = {"rec_x": place[:, 0], "rec_y": place[:, 1], "rec_z": place[:, 2]}
        hits |= {"rec_layer": np.append(layer.ravel(), [0, 1, 2]), "rec_barcode": np.append(owner.ravel(), [7, 7, 8])}
        hits["rec_adc"] = random.gamma(3.0, 200.0, len(place))
        tracks = {"gen_mom": pt * 1000, "gen_eta": eta, "gen_phi": phi, "gen_charge": charge, "gen_barcode": barcode}
        _append(content, hits, tracks, random.permutation(len(layer.ravel()) + 3))
    return _write(folder, "barrel", content, BARREL)


def forward(folder: Path, events: int, seed: int = 0) -> tuple[Path, Path]:
    """Planes along z around a dipole: mm, GeV, slopes instead of angles, tracks by their number; ROOT file, mapping."""
    random = np.random.default_rng(seed)
    content: dict[str, list] = {name: [] for name in _branches(FORWARD)}
    for _ in range(events):
        n = int(random.integers(1, 5))
        slopes, charge = random.uniform(-0.1, 0.1, (2, n)), random.choice([-1.0, 1.0], n)
        momentum = np.exp(random.uniform(np.log(2.0), np.log(50.0), n))
        kick = charge * 0.3 / momentum
        behind = np.maximum(PLANES - 1000.0, 0.0)
        x = slopes[0][:, None] * PLANES + kick[:, None] * behind
        y = slopes[1][:, None] * PLANES
        z = np.broadcast_to(PLANES, x.shape)
        plane, owner = np.broadcast_to(np.arange(6), x.shape), np.broadcast_to(np.arange(n)[:, None], x.shape)
        hits = {"hitX": x + random.normal(0, 0.1, x.shape), "hitY": y + random.normal(0, 0.1, x.shape), "hitZ": z}
        hits = {name: values.ravel() for name, values in (hits | {"plane": plane, "link": owner}).items()}
        tracks = {"tx": slopes[0], "ty": slopes[1], "mom": momentum, "charge": charge}
        _append(content, hits, tracks, random.permutation(owner.size))
    return _write(folder, "forward", content, FORWARD)


def _branches(mapping: dict) -> list[str]:
    columns = (mapping["hits"] | mapping["tracks"]).values()
    return [column["branch"] if isinstance(column, dict) else column for column in columns]


def _append(content: dict[str, list], hits: dict, tracks: dict, order: np.ndarray) -> None:
    """Adds an event, with its hits in another order."""
    for name, values in ({name: own[order] for name, own in hits.items()} | tracks).items():
        content[name].append(values)


def _write(folder: Path, name: str, content: dict[str, list], mapping: dict) -> tuple[Path, Path]:
    import awkward as ak
    import uproot

    arrays = {branch: ak.Array(values) for branch, values in content.items()}
    with uproot.recreate(folder / f"{name}.root") as file:
        file.mktree("events", {branch: f"var * {ak.flatten(own).type.content}" for branch, own in arrays.items()})
        file["events"].extend(arrays)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False))
    return folder / f"{name}.root", folder / f"{name}.yaml"
