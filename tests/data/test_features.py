import math

import numpy as np
import pytest
import torch

from hitpool.data import HitFeatures
from hitpool.data.features import ETA_LIMIT, POINT_FIELDS
from hitpool.muon import HITS

MUON_COLUMNS = [
    *(f"spacePoint_globEdge{edge}{axis}" for edge in ("High", "Low") for axis in "XYZ"),
    "spacePoint_time",
    "spacePoint_driftR",
    "spacePoint_technology",
]
FACTORS = {name: HITS[name].scale for name in MUON_COLUMNS}
XYZ = {"": [["X", "Y", "Z"]]}
MILLIMETRES = {"X": 1e-3, "Y": 1e-3, "Z": 1e-3}


def point_fields(x: float, y: float, z: float) -> list[float]:
    """The definition, in float64, one hit at a time."""
    r, s = math.hypot(x, y), math.sqrt(x**2 + y**2 + z**2)
    theta = math.acos(min(1.0, max(-1.0, z / s)))
    return [x, y, z, r, s, theta, math.atan2(y, x), -math.log(math.tan(theta / 2)), x / r, y / r]


def random_hits(number: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-12000, 12000, (number, columns)).astype(np.float32))


def test_low_edge_and_midpoint_match_the_definition():
    fields = [prefix + name for prefix in ("", "mid_") for name in POINT_FIELDS]
    hits = random_hits(500, len(MUON_COLUMNS))
    got = HitFeatures(MUON_COLUMNS, fields, FACTORS)(hits)
    for hit, row in zip(hits.double().numpy() * 1e-3, got.numpy(), strict=True):
        high, low = hit[:3], hit[3:6]
        expected = point_fields(*low) + point_fields(*(low + high) / 2)
        np.testing.assert_allclose(row, expected, rtol=2e-5, atol=2e-5)


def test_columns_are_found_by_name_and_scaled():
    fields = ["spacePoint_time", "spacePoint_technology", "spacePoint_globEdgeLowY", "spacePoint_driftR"]
    hits = random_hits(20, len(MUON_COLUMNS))
    got = HitFeatures(MUON_COLUMNS, fields, FACTORS)(hits)
    torch.testing.assert_close(got, hits[:, [6, 8, 4, 7]] * torch.tensor([2e-3, 0.3, 1e-3, 0.1]))
    shuffled = [7, 3, 8, 0, 5, 1, 6, 4, 2]
    again = HitFeatures([MUON_COLUMNS[i] for i in shuffled], fields, FACTORS)(hits[:, shuffled])
    assert torch.equal(again, got)


def test_coordinates_may_be_columns_of_the_same_name():
    columns, hits = ["x", "y", "z"], random_hits(20, 3)
    scale = dict.fromkeys(columns, 1e-3)
    got = HitFeatures(columns, ["x", "y", "z", "r", "eta"], scale, {"": [["x", "y", "z"]]})(hits)
    expected = HitFeatures(["X", "Y", "Z"], ["x", "y", "z", "r", "eta"], MILLIMETRES, XYZ)(hits)
    torch.testing.assert_close(got, expected)


def test_without_factors_nothing_is_scaled():
    hits = random_hits(20, len(MUON_COLUMNS))
    assert torch.equal(HitFeatures(MUON_COLUMNS, MUON_COLUMNS)(hits), hits)
    x = HitFeatures(MUON_COLUMNS, ["x"])(hits)[:, 0]
    assert torch.equal(x, hits[:, MUON_COLUMNS.index("spacePoint_globEdgeLowX")])


def test_any_column_names_and_factors_for_derived_fields():
    features = HitFeatures(
        ["a", "b", "c", "d"], ["d", "p.r", "p.theta"], {"a": 2.0, "p.r": 10.0}, {"p.": [["a", "b", "c"]]}
    )
    got = features(torch.tensor([[1.5, 4.0, 0.0, -7.0]]))
    torch.testing.assert_close(got, torch.tensor([[-7.0, 50.0, math.pi / 2]]))


def test_leading_dimensions_are_free():
    features = HitFeatures(MUON_COLUMNS, ["eta", "spacePoint_driftR", "mid_x"])
    hits = random_hits(24, len(MUON_COLUMNS))
    expected = features(hits)
    assert torch.equal(features(hits.view(2, 3, 4, -1)), expected.view(2, 3, 4, 3))
    torch.testing.assert_close(features(hits[0]), expected[0], rtol=1e-6, atol=0)  # a hit alone is not vectorised
    assert features(hits[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ((0.0, 0.0, 0.0), {"r": 0.0, "s": 0.0, "theta": math.pi / 2, "phi": 0.0, "eta": 0.0}),
        ((-0.0, -0.0, -0.0), {"r": 0.0, "s": 0.0, "theta": math.pi / 2, "phi": 0.0, "eta": 0.0}),
        ((0.0, 0.0, 5000.0), {"r": 0.0, "s": 5.0, "theta": 0.0, "phi": 0.0, "eta": ETA_LIMIT}),
        ((0.0, -0.0, 5000.0), {"phi": 0.0, "cos_phi": 1.0, "sin_phi": 0.0}),
        ((-0.0, 0.0, -5000.0), {"r": 0.0, "s": 5.0, "theta": math.pi, "phi": 0.0, "eta": -ETA_LIMIT}),
        ((1e-4, 0.0, 20000.0), {"theta": 5e-9, "phi": 0.0, "eta": ETA_LIMIT}),
        ((1e-30, 0.0, 0.0), {"s": 0.0, "theta": math.pi / 2, "eta": 0.0, "cos_phi": 1.0, "sin_phi": 0.0}),
    ],
)
def test_axis_and_origin_are_finite(position, expected):
    features = HitFeatures(["X", "Y", "Z"], list(POINT_FIELDS), MILLIMETRES, XYZ)
    got = dict(zip(POINT_FIELDS, features(torch.tensor([position]))[0].tolist(), strict=True))
    assert all(map(math.isfinite, got.values()))
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-12, rel=1e-6)


def test_rounding_decides_nothing_where_phi_jumps():
    """Sensors whose middles lie at y = 0, x < 0 but for rounding, and space points there with +0 and -0."""
    generator = torch.Generator().manual_seed(0)
    x, half = torch.linspace(-12000, -400, 300), 1500 * torch.rand(300, generator=generator)
    high, low = torch.stack([x, half, x], dim=-1), torch.stack([x, -half, x], dim=-1)
    low[:50, 1], high[:50, 1] = -0.0, 0.0
    low[50:100, 1], high[50:100, 1] = -0.0, -0.0
    hits = torch.cat([high, low, torch.ones(300, 3)], dim=-1)
    features = HitFeatures(MUON_COLUMNS, [f"mid_{name}" for name in POINT_FIELDS], FACTORS)
    expected = features(hits)
    assert (expected[:, POINT_FIELDS.index("phi")] > 3).all()
    for _ in range(5):
        noisy = features(hits * (1 + 1e-7 * torch.randn(hits.shape, generator=generator)))
        torch.testing.assert_close(noisy, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("x", "y"), [(-8000, -0.2), (-8000, 0.2), (-8000, 0.04), (8000, -0.04), (8000, 0.04), (0, -9)])
def test_phi_is_exact_beyond_the_jump(x, y):
    got = HitFeatures(["X", "Y", "Z"], ["phi"], MILLIMETRES, XYZ)(torch.tensor([[float(x), y, 100.0]]))
    assert got.item() == pytest.approx(math.atan2(y, x), abs=3e-7)


def test_eta_is_exact_close_to_the_beam_axis():
    theta = 2e-4  # cos(theta) rounds to 1 - 2e-8 in float32: arccos would be wrong here
    z = 20000.0
    hit = torch.tensor([[z * math.tan(theta), 0.0, z]])
    got = HitFeatures(["X", "Y", "Z"], ["theta", "eta"], MILLIMETRES, XYZ)(hit)[0]
    assert got.tolist() == pytest.approx([theta, -math.log(math.tan(theta / 2))], rel=1e-6)


def test_nan_is_not_hidden():
    features = HitFeatures(["X", "Y", "Z", "t"], [*POINT_FIELDS, "t"], MILLIMETRES, XYZ)
    got = features(torch.tensor([[math.nan, math.nan, math.nan, 1.0]]))
    assert got[0, :-1].isnan().all()
    assert got[0, -1] == 1.0


def test_unused_columns_have_no_influence():
    features = HitFeatures(MUON_COLUMNS, ["eta", "spacePoint_driftR"])
    hits = random_hits(10, len(MUON_COLUMNS))
    expected = features(hits)
    unused = [i for i in range(len(MUON_COLUMNS)) if i not in features.used_columns]
    assert unused == [0, 1, 2, 6, 8]
    hits[:, unused] = math.nan
    assert torch.equal(features(hits), expected)


@pytest.mark.parametrize("fields", [["mid_eta", "spacePoint_time", "phi"], ["spacePoint_time"], ["eta"]])
@pytest.mark.parametrize("compiler", ["script", "trace"])
def test_torchscript_gives_the_same_for_any_size(tmp_path, fields, compiler):
    features = HitFeatures(MUON_COLUMNS, fields)
    hits = random_hits(60, len(MUON_COLUMNS))
    if compiler == "script":
        compiled = torch.jit.script(features)
    else:
        compiled = torch.jit.trace(features, hits[:6].view(2, 3, -1))
    torch.jit.save(compiled, tmp_path / "features.pt")
    loaded = torch.jit.load(tmp_path / "features.pt")
    for shape in ((60, 1), (1, 60), (4, 15)):
        assert torch.equal(loaded(hits.view(*shape, -1)), features(hits.view(*shape, -1)))


def test_nothing_is_stored_in_checkpoints():
    assert HitFeatures(MUON_COLUMNS, ["eta", "spacePoint_time"]).state_dict() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"fields": ["spacePoint_tme"]},
            r"unknown hit field 'spacePoint_tme' .did you mean 'spacePoint_time'..; available columns: .*mid_eta",
        ),
        ({"fields": []}, "at least one field"),
        ({"fields": ["r", "eta", "r"]}, "named more than once: r"),
        (
            {"fields": ["r"], "scale_factors": {"spacePoint_X": 1.0}},
            "scale factor for unknown field 'spacePoint_X'",
        ),
        (
            {"fields": ["r"], "scale_factors": {"spacePoint_time": math.nan}},
            "'spacePoint_time': expected a finite",
        ),
        ({"fields": ["r"], "points": {"": ["spacePoint_time"]}}, "expected a list of column triples"),
        ({"fields": ["r"], "points": {"": [["spacePoint_time", "b"]]}}, "expected a list of column triples"),
        (
            {"fields": ["r"], "points": {"": [["a", "b", "c"]]}},
            "unknown hit field 'r'.*no point has its columns",
        ),
        ({"fields": ["x"], "columns": [*MUON_COLUMNS, "x"]}, "both a column and derived"),
        (
            {"fields": ["x"], "columns": ["x", "y", "z"], "points": {"": [["x", "y", "z"], ["z", "y", "x"]]}},
            "both a column and derived",
        ),
    ],
)
def test_errors_name_the_field(arguments, message):
    with pytest.raises(ValueError, match=message):
        HitFeatures(**{"columns": MUON_COLUMNS} | arguments)
