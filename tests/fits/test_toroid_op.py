"""The compiled toroid fit against its definition in PyTorch, and everything that torch asks of an op."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import hitpool.fits.toroid
from hitpool.fits import BoxToroid, FieldMap, Geometry, ToroidFit
from hitpool.fits.toroid import HIT_QUANTITIES, TRACK_QUANTITIES
from hitpool.ops.toroid_fit import toroid_fit
from hitpool.simulation import toroid_field

ANGLES = ("phi", "direction")


def numbers(fit: ToroidFit) -> tuple:
    return (fit.geometry.numbers(), *fit.field.numbers())


def ready(hits: Tensor) -> Tensor:
    """Hits as the op takes them: 1 for drift tubes."""
    return torch.cat([hits[..., :9], (hits[..., 9:] == 0).double()], dim=-1)


def both(fit: ToroidFit, hits: Tensor, logits: Tensor, valid: Tensor | None, threshold: float = 0.1) -> tuple:
    """Results by name of op and definition; padded hits are 0, as the fit makes them."""
    if valid is not None:
        hits = hits.masked_fill(~valid.unsqueeze(-1), 0)
    ours = toroid_fit(hits, logits, valid, *numbers(fit), threshold=threshold, max_hits=fit.max_hits)
    theirs = fit.definition(hits, logits, valid, threshold)
    return tuple(
        dict(zip(TRACK_QUANTITIES, of_tracks.unbind(-1), strict=True))
        | dict(zip(HIT_QUANTITIES, of_hits.unbind(-2), strict=True))
        for of_tracks, of_hits in (ours, theirs)
    )


def apart(name: str, ours: Tensor, theirs: Tensor) -> Tensor:
    """Relative difference; that of angles in rad."""
    difference = (ours - theirs).abs()
    if name in ANGLES:
        return torch.minimum(difference, 2 * math.pi - difference)
    return difference / theirs.abs().clamp(min=1e-3)


@pytest.fixture(scope="module")
def distinct(muons) -> Tensor:
    """Logits [B, 2, M] of which no two are alike."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(muons.logits.shape, generator=generator, dtype=torch.float64)
    return torch.where(muons.logits > 0, 1 + 3 * noise, noise - 6)


@pytest.fixture(scope="module")
def field_map(tmp_path_factory) -> FieldMap:
    r, z, phi = np.linspace(0.5, 12, 40), np.linspace(0, 22, 60), np.arange(4) * math.pi / 16
    x, y = r[:, None, None] * np.cos(phi), r[:, None, None] * np.sin(phi)
    x, y, height = np.broadcast_arrays(x, y, z[None, :, None])
    path = tmp_path_factory.mktemp("field") / "field.npz"
    np.savez(path, r=r, z=z, phi=phi, B=toroid_field(x, y, height))
    return FieldMap(str(path))


@pytest.mark.parametrize("kind", ["box", "map", "map of both sides"])
@pytest.mark.parametrize("max_hits", [64, 20])
def test_equals_the_definition(muons, distinct, field_map, kind, max_hits):
    """As far as rounding allows, which the solution of the normal equations magnifies."""
    fit = ToroidFit(field=BoxToroid() if kind == "box" else field_map, max_hits=max_hits)
    if kind == "map of both sides":
        fit.field.mirrored = False
    ours, theirs = both(fit, ready(muons.hits), distinct, muons.valid)
    field_map.mirrored = True
    for name in TRACK_QUANTITIES:
        found = apart(name, ours[name], theirs[name])[muons.there]
        assert found.median() < 1e-8, name
        assert (found < 1e-6).double().mean() > 0.95, name
    assert torch.equal(ours["hit_taken"], theirs["hit_taken"])
    for name in ("hit_radius", "hit_error", "hit_tube"):
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-12, rtol=1e-12)
    for name in ("posterior", "hit_distance"):
        assert ((ours[name] - theirs[name]).abs() < 1e-6).double().mean() > 0.99, name


def test_is_no_farther_from_the_definition_than_the_last_bits_of_the_hits(muons, distinct):
    """The definition moves by more than that when the last bits of its input are flipped."""
    fit, hits = ToroidFit(), ready(muons.hits)
    bits = torch.randint(-1, 2, hits[..., :9].shape, generator=torch.Generator().manual_seed(4)).double()
    flipped = torch.cat([hits[..., :9] * (1 + 2.0**-52 * bits), hits[..., 9:]], dim=-1)
    ours, theirs = both(fit, hits, distinct, muons.valid)
    _, moved = both(fit, flipped, distinct, muons.valid)
    for name in ("eta", "kappa", "kappa_error", "chi2"):
        op, rounding = (apart(name, value[name], theirs[name])[muons.there] for value in (ours, moved))
        assert op.quantile(0.9) < 3 * rounding.quantile(0.9) + 1e-12, name


@pytest.mark.parametrize("kind", ["no hit", "one hit", "strips", "tubes", "one station", "foreign"])
def test_parts_of_a_track(muons, distinct, kind):
    tube = muons.hits[..., 9] == 0
    near = muons.hits[..., :2].norm(dim=-1) < 6.0
    first = torch.zeros_like(tube)
    first[:, 5] = True
    none = torch.zeros_like(tube)
    keep = {"no hit": none, "one hit": first, "strips": ~tube, "tubes": tube, "one station": near, "foreign": ~none}[
        kind
    ]
    logits = -distinct if kind == "foreign" else distinct
    ours, theirs = both(ToroidFit(), ready(muons.hits), logits, muons.valid & keep)
    for name in TRACK_QUANTITIES:
        assert ours[name].isfinite().all(), name
        agree = apart(name, ours[name], theirs[name]) < 1e-5
        if name in ("qpt", *ANGLES):  # where kappa is 0 but for rounding, its sign decides about the smallest curvature
            agree |= theirs["kappa"].abs() < 1e-9
        assert agree.double().mean() > 0.99, name
    assert torch.equal(ours["hit_taken"], theirs["hit_taken"])


def garbage(events: int, tracks: int, hits: int, seed: int, size: float) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(events, hits, 10, generator=generator).double() * size
    values[..., 6:9] = values[..., 6:9].abs() * 1e-3
    values[..., 9] = (values[..., 9] > 0).double()
    logits = torch.randn(events, tracks, hits, generator=generator).double() * 5
    return values, logits, torch.rand(events, hits, generator=generator) < 0.8


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 70),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([1e-6, 1.0, 5.0, 1e6]),
    st.integers(4, 80),
)
def test_anything_is_finite_where_the_definition_is(events, tracks, hits, seed, threshold, size, max_hits):
    ours, theirs = both(ToroidFit(max_hits=max_hits), *garbage(events, tracks, hits, seed, size), threshold)
    for name, value in ours.items():
        assert value.shape == theirs[name].shape
        assert value.isfinite()[theirs[name].isfinite()].all(), name
    assert torch.equal(ours["hit_taken"], theirs["hit_taken"])


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 1e300])
def test_what_padded_hits_hold_changes_no_bit(muons, distinct, special):
    fit, hits = ToroidFit(), ready(muons.hits)
    odd = torch.where(muons.valid.unsqueeze(-1), hits, special)
    logits = torch.where(muons.valid.unsqueeze(1), distinct, special)
    expected = toroid_fit(hits, distinct, muons.valid, *numbers(fit))
    for found, value in zip(toroid_fit(odd, logits, muons.valid, *numbers(fit)), expected, strict=True):
        assert torch.equal(found, value)


@pytest.mark.parametrize("place", ["hits", "logits"])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 1e300])
def test_odd_numbers_in_one_event_stay_there(muons, distinct, field_map, special, place):
    hits, logits = ready(muons.hits), distinct.clone()
    {"hits": hits, "logits": logits}[place][3, ..., 5:] = special
    for field in (BoxToroid(), field_map):
        arguments = numbers(ToroidFit(field=field))
        found = toroid_fit(hits, logits, muons.valid, *arguments)
        expected = toroid_fit(ready(muons.hits), distinct, muons.valid, *arguments)
        others = torch.arange(len(hits)) != 3
        assert all(torch.equal(x[others], y[others]) for x, y in zip(found, expected, strict=True))


def test_does_not_depend_on_threads_or_strides(muons, distinct, field_map):
    threads = torch.get_num_threads()
    hits, valid = ready(muons.hits), muons.valid
    strided = (
        hits.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        distinct.mT.contiguous().mT,
        valid.t().contiguous().t(),
    )
    results = []
    try:
        for number, arrays in ((1, (hits, distinct, valid)), (3, (hits, distinct, valid)), (1, strided)):
            torch.set_num_threads(number)
            for field in (BoxToroid(), field_map):
                results.append(toroid_fit(*arrays, *numbers(ToroidFit(field=field))))
    finally:
        torch.set_num_threads(threads)
    for place, (of_tracks, of_hits) in enumerate(results):
        assert torch.equal(of_tracks, results[place % 2][0])
        assert torch.equal(of_hits, results[place % 2][1])


def test_every_instruction_set_gives_the_same(muons, distinct, tmp_path, capability):
    code = """
import sys, torch
torch.ops.load_library(sys.argv[1])
arguments = torch.load(sys.argv[2])
torch.save(torch.ops.hitpool.toroid_fit(*arguments), sys.argv[2])
"""
    arguments = ready(muons.hits)[:50], distinct[:50], muons.valid[:50], *numbers(ToroidFit())
    path = tmp_path / "tensors.pt"
    torch.save(arguments, path)
    subprocess.run(
        [sys.executable, "-c", code, hitpool.library_path(), str(path)],
        env=os.environ | {"ATEN_CPU_CAPABILITY": capability},
        cwd=Path(sys.executable).parent,
        check=True,
        timeout=120,
    )
    found, expected = torch.load(path)[0], toroid_fit(*arguments)[0]
    for name, ours, theirs in zip(TRACK_QUANTITIES, found.unbind(-1), expected.unbind(-1), strict=True):
        assert apart(name, ours, theirs)[muons.there[:50]].quantile(0.9) < 1e-6, name


def test_opcheck(muons, distinct, field_map):
    hits, logits, valid = ready(muons.hits)[:3, :40], distinct[:3, :, :40], muons.valid[:3, :40]
    for field, mask in ((BoxToroid(), valid), (BoxToroid(), None), (field_map, valid)):
        arguments = hits, logits, mask, *numbers(ToroidFit(field=field))
        torch.library.opcheck(torch.ops.hitpool.toroid_fit.default, arguments, {"threshold": 0.2, "max_hits": 16})


def test_vmap_is_one_call_for_all(muons, distinct):
    hits, logits, valid = (x[:6].unflatten(0, (3, 2)) for x in (ready(muons.hits), distinct, muons.valid))
    found = torch.func.vmap(lambda *x: toroid_fit(*x, *numbers(ToroidFit())))(hits, logits, valid)
    for place in range(3):
        expected = toroid_fit(hits[place], logits[place], valid[place], *numbers(ToroidFit()))
        assert all(torch.equal(x[place], y) for x, y in zip(found, expected, strict=True))


def test_derivatives_are_refused(muons, distinct, field_map):
    hits, logits = ready(muons.hits)[:2], distinct[:2]
    box, table = numbers(ToroidFit()), numbers(ToroidFit(field=field_map))
    message = r"hitpool::toroid_fit: expected {} without derivative, got a tensor that requires one"
    with pytest.raises(NotImplementedError, match=message.format("hits")):
        toroid_fit(hits.clone().requires_grad_(), logits, None, *box)
    with pytest.raises(NotImplementedError, match=message.format("logits")):
        toroid_fit(hits, logits.clone().requires_grad_(), None, *box)
    with pytest.raises(NotImplementedError, match=message.format("table")):
        toroid_fit(hits, logits, None, *table[:2], [*table[2][:3], table[2][3].clone().requires_grad_()])
    with pytest.raises(NotImplementedError, match=message.format("logits")):
        torch.func.jvp(lambda x: toroid_fit(hits, x, None, *box), (logits,), (logits,))
    with pytest.raises(NotImplementedError, match=message.format("logits")):
        torch.func.grad(lambda x: toroid_fit(hits, x, None, *box)[0].sum())(logits)
    with torch.no_grad():
        toroid_fit(hits, logits.clone().requires_grad_(), None, *box)


def test_the_fit_has_the_derivatives_of_torch_func(muons, distinct):
    hits, logits, valid = muons.hits[:2], distinct[:2].double(), muons.valid[:2]
    there, fit = muons.there[:2], ToroidFit()
    direction = torch.rand(logits.shape, generator=torch.Generator().manual_seed(0)).double()

    def eta(logits: Tensor) -> Tensor:
        return fit(hits, logits, valid)["eta"][there]

    _, forward = torch.func.jvp(eta, (logits,), (direction,))
    backward = torch.func.grad(lambda x: eta(x).sum())(logits)
    assert forward.abs().max() > 0
    torch.testing.assert_close(forward.sum(), (backward * direction).sum())


def wrong_arguments() -> list[tuple[dict, type[Exception], str]]:
    table = [torch.linspace(0, 1, n).double() for n in (3, 4, 5)] + [torch.zeros(3, 4, 5).double()]
    short = torch.zeros(1).double()
    by_table = {"field": [1.0, 1.0]}
    return [
        ({"hits": torch.zeros(2, 5, 10)}, TypeError, r"hits with dtype float64, got Float"),
        ({"hits": torch.zeros(2, 5, 9).double()}, ValueError, r"hits with shape \[B, M, 10\], got \[2, 5, 9\]"),
        ({"logits": torch.zeros(2, 3, 5)}, TypeError, r"logits with dtype float64, got Float"),
        ({"logits": torch.zeros(2, 3, 6).double()}, ValueError, r"logits with shape \[B, N, M\] .*, got \[2, 3, 6\]"),
        ({"logits": torch.zeros(2, 3, 5).double().to("meta")}, ValueError, r"logits with the device of hits, cpu"),
        ({"valid": torch.ones(2, 5)}, TypeError, r"valid with dtype bool, got Float"),
        ({"valid": torch.ones(2, 6, dtype=torch.bool)}, ValueError, r"valid with shape \[B, M\] .*, got \[2, 6\]"),
        ({"geometry": [1.0]}, ValueError, r"geometry with 11 numbers, got 1"),
        ({"field": [1.0]}, ValueError, r"field with the 10 numbers of a box field, got 1"),
        ({"table": table}, ValueError, r"field with period and mirrored, 2 numbers, got 10"),
        (by_table | {"table": table[:3]}, ValueError, r"table with no tensor, or the four r, z, phi and B, got 3"),
        (by_table | {"table": [short, *table[1:]]}, ValueError, r"table\[0\] with shape \[at least 2\], got \[1\]"),
        (by_table | {"table": [*table[:3], table[3][1:]]}, ValueError, r"table\[3\] .*\[3, 4, 5\], got \[2, 4, 5\]"),
        (by_table | {"table": [table[0].float(), *table[1:]]}, TypeError, r"table\[0\] with dtype float64, got Float"),
        ({"threshold": 1.5}, ValueError, r"threshold with a value in \[0, 1\], got 1.5"),
        ({"max_hits": 0}, ValueError, r"max_hits with at least 1, got 0"),
        ({"hits": torch.zeros(2, 5, 10).double().to_sparse()}, TypeError, r"hits as a dense tensor, got layout Sparse"),
    ]


@pytest.mark.parametrize(("changed", "kind", "message"), wrong_arguments())
def test_wrong_arguments_are_named(changed, kind, message):
    geometry, field, table = numbers(ToroidFit())
    arguments = {"hits": torch.zeros(2, 5, 10).double(), "logits": torch.zeros(2, 3, 5).double(), "valid": None}
    arguments |= {"geometry": geometry, "field": field, "table": table} | changed
    with pytest.raises(kind, match=f"^hitpool::toroid_fit: expected {message}"):
        toroid_fit(**arguments)


class Twice(BoxToroid):
    """A field that the op does not know."""

    def forward(self, r, z, phi):
        return 2 * super().forward(r, z, phi)


class Denser(Geometry):
    """More material than the numbers say."""


@pytest.fixture
def calls(monkeypatch) -> list:
    """One entry per call of the op by a fit."""
    made = []

    def recorded(*arguments, **options):
        made.append(arguments)
        return toroid_fit(*arguments, **options)

    monkeypatch.setattr(hitpool.fits.toroid, "toroid_fit", recorded)
    return made


def test_the_fit_takes_the_op_where_it_can(muons, field_map, calls):
    hits, logits, valid = muons.hits[:2].float(), muons.logits[:2], muons.valid[:2]
    ToroidFit()(hits, logits, valid)
    assert len(calls) == 1
    ToroidFit(field=field_map)(hits, logits)
    assert len(calls) == 2
    with torch.no_grad():
        ToroidFit()(hits, logits.clone().requires_grad_(), valid)
    assert len(calls) == 3
    for fit in (ToroidFit(field=Twice()), ToroidFit(geometry=Denser())):
        fit(hits, logits, valid)
    for leaves in ((hits.clone().requires_grad_(), logits), (hits, logits.clone().requires_grad_())):
        assert ToroidFit()(*leaves, valid)["kappa"].requires_grad
    shape = ToroidFit().to("meta")(hits.to("meta"), logits.to("meta"), valid.to("meta"))["kappa"].shape
    assert shape == (2, 2)
    assert len(calls) == 3


def test_recorded_forms_of_the_fit_hold_the_op(muons, distinct, field_map):
    """TorchScript, torch.compile and torch.export, at other sizes than those they were recorded with."""
    hits, valid = muons.hits, muons.valid
    small = tuple(values.contiguous() for values in (hits[:3, :50], distinct[:3, :, :50], valid[:3, :50]))
    large = hits[:8], distinct[:8], valid[:8]
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("count")}
    shapes = (sizes, {0: sizes[0], 2: sizes[1]}, sizes)
    for field in (BoxToroid(), field_map):
        fit = ToroidFit(field=field).eval()
        traced = torch.jit.trace(fit, small, check_trace=False, strict=False)
        exported = torch.export.export(fit, small, dynamic_shapes=shapes)
        assert "hitpool::toroid_fit" in str(traced.inlined_graph)
        assert "hitpool.toroid_fit" in str(exported.graph)
        compiled = torch.compile(fit, fullgraph=True, dynamic=True, backend="eager")
        for arguments in (small, large):
            expected = fit(*arguments)
            for form in (traced, exported.module(), compiled):
                for name, value in form(*arguments).items():
                    assert torch.equal(value, expected[name]), name


def test_exported_models_run_on_a_gpu_too(muons, distinct, field_map):
    """The kernel for GPUs, called directly: it copies to the CPU and back, so that it needs no GPU here."""
    on_gpu = torch.ops.hitpool.toroid_fit.default._op_dk
    for field, valid in ((BoxToroid(), None), (field_map, muons.valid)):
        arguments = ready(muons.hits), distinct, valid, *numbers(ToroidFit(field=field))
        expected = toroid_fit(*arguments, threshold=0.2, max_hits=16)
        found = on_gpu(torch._C.DispatchKey.CUDA, *arguments, threshold=0.2, max_hits=16)
        assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
