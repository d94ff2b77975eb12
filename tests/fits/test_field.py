"""Maps of the field against their definitions."""

import math

import numpy as np
import pytest
import torch

from hitpool.fits import BoxToroid, FieldMap
from hitpool.simulation import toroid_field


def write_map(path, function, r, z, phi):
    grid = np.meshgrid(r, z, phi, indexing="ij")
    np.savez(path, r=r, z=z, phi=phi, B=function(*grid))
    return str(path)


def points(count, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.uniform(low, high, count)) for low, high in ((0.5, 12), (-20, 20), (-4, 8))]


def test_a_linear_field_is_interpolated_exactly(tmp_path):
    file = write_map(
        tmp_path / "map.npz",
        lambda r, z, phi: (2 * r - 3 * z + r * z) / 100,
        *map(np.asarray, ([0.0, 5, 12], [0.0, 4, 21], [0.0, 0.5])),
    )
    r, z, phi = points(500)
    torch.testing.assert_close(FieldMap(file)(r, z, phi), (2 * r - 3 * z.abs() + r * z.abs()) / 100)


def test_the_field_of_the_simulation_is_reproduced(tmp_path):
    period = math.pi / 4
    axes = np.linspace(0.3, 12, 240), np.linspace(0, 22, 450), np.arange(16) * period / 16
    file = write_map(tmp_path / "map.npz", lambda r, z, phi: toroid_field(r * np.cos(phi), r * np.sin(phi), z), *axes)
    r, z, phi = points(3000)
    expected = torch.from_numpy(toroid_field(*(v.numpy() for v in (r * phi.cos(), r * phi.sin(), z))))
    assert (FieldMap(file)(r, z, phi) - expected).abs().max() < 0.02


def test_outside_of_the_map_there_is_no_field(tmp_path):
    file = write_map(
        tmp_path / "map.npz", lambda r, z, phi: 0 * r + 1, *map(np.asarray, ([1.0, 5], [2.0, 4], [0.0, 0.5]))
    )
    r, z = torch.tensor([0.5, 3.0, 6.0, 3.0, 3.0, 3.0]), torch.tensor([3.0, 3.0, 3.0, 1.0, -3.0, 5.0])
    assert FieldMap(file)(r, z, torch.zeros(6)).tolist() == [0, 1, 0, 0, 1, 0]
    assert FieldMap(file, mirrored=False)(r, z, torch.zeros(6)).tolist() == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"B": None}, r"no arrays \['B'\]"),
        ({"r": [1.0]}, "r must be a sorted list of at least two points"),
        ({"z": [2.0, 1.0]}, "z must be a sorted list"),
        ({"B": np.zeros((2, 2, 3))}, r"B must be finite .* = \[2, 2, 2\], got \[2, 2, 3\]"),
        ({"phi": [0.0, 3.0]}, "phi must lie in"),
    ],
)
def test_a_bad_map_is_named(tmp_path, change, message):
    arrays = {"r": [1.0, 2.0], "z": [0.0, 1.0], "phi": [0.0, 0.1], "B": np.zeros((2, 2, 2))} | change
    np.savez(tmp_path / "map.npz", **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(ValueError, match=f"field map .*map.npz: {message}"):
        FieldMap(str(tmp_path / "map.npz"))
    with pytest.raises(FileNotFoundError):
        FieldMap(str(tmp_path / "none.npz"))


def test_boxes_hold_their_field_and_nothing_is_outside():
    field = BoxToroid(barrel=3.5, endcap=2.0, softness=0.01)
    r, z = torch.tensor([7.0, 3.0, 7.0, 3.0, 3.0]), torch.tensor([0.0, 10.0, -10.0, 0.0, -10.0])
    expected = torch.tensor([3.5 / 7, 2 / 3, 3.5 / 7, 0.0, 2 / 3])
    torch.testing.assert_close(field(r, z, torch.zeros(5)), expected)


@pytest.mark.parametrize("options", [{"softness": 0.0}, {"barrel_box": (9.0, 5.0, 12.0)}])
def test_wrong_boxes_are_refused(options):
    with pytest.raises(ValueError, match="BoxToroid"):
        BoxToroid(**options)


@pytest.mark.parametrize("change", [{"B": np.full((2, 2, 2), 4e3)}, {"r": [1000.0, 2000.0]}])
def test_gauss_and_millimetres_are_named(tmp_path, change):
    arrays = {"r": [1.0, 2.0], "z": [0.0, 1.0], "phi": [0.0, 0.1], "B": np.zeros((2, 2, 2))} | change
    np.savez(tmp_path / "map.npz", **arrays)
    with pytest.raises(ValueError, match=r"expected T, at most 20, and m, at most 100"):
        FieldMap(str(tmp_path / "map.npz"))


def test_what_is_no_map_is_named(tmp_path):
    (tmp_path / "map.npz").write_text("no map")
    with pytest.raises(ValueError, match=r"map.npz: expected a NumPy archive"):
        FieldMap(str(tmp_path / "map.npz"))
