"""The compiled fit in a solenoid against its definition in PyTorch, and everything that torch asks of an op."""

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import hitpool.fits.solenoid
from hitpool.fits import SolenoidFit
from hitpool.ops.solenoid_fit import solenoid_fit

from .solenoid_tracks import FIELD, simulate

NUMBERS = [FIELD, 0.015, [1e-3, 0.1]]
TRACK_QUANTITIES = SolenoidFit.gives[:-1]
ERRORS = {"eta": "eta_error", "phi": "phi_error", "qpt": "qpt_error", "d0": "d0_error", "z0": "z0_error"}


def both(fit: SolenoidFit, hits: Tensor, logits: Tensor, valid: Tensor | None, threshold: float = 0.1) -> tuple:
    """Results by name of op and definition; padded hits are 0, as the fit makes them."""
    numbers = fit.field, fit.radiation_lengths, list(fit.beam_spot)
    ours = solenoid_fit(hits, logits, valid, *numbers, threshold=threshold, max_hits=fit.max_hits)
    if valid is not None:
        hits = hits.masked_fill(~valid.unsqueeze(-1), 0)
    theirs = fit.definition(hits, logits, valid, threshold)
    return tuple(
        dict(zip(SolenoidFit.gives, [*of_tracks.unbind(-1), posterior], strict=True))
        for of_tracks, posterior in (ours, theirs)
    )


def apart(name: str, ours: dict, theirs: dict) -> Tensor:
    """Differences of the parameters in units of their errors, absolute ones of weights, relative ones of the rest."""
    difference = (ours[name] - theirs[name]).abs()
    if name == "phi":
        difference = torch.minimum(difference, 2 * math.pi - difference)
    if name in ERRORS:
        return difference / theirs[ERRORS[name]]
    if name in ("num_hits", "posterior"):
        return difference
    return difference / theirs[name].abs().clamp(min=1e-3)


@pytest.fixture(scope="module")
def tracks() -> SimpleNamespace:
    """Events of 20 tracks, all hits of all of them in each event, half of the queries for a track."""
    hits = simulate(400).hits.unflatten(0, (20, 20))  # [20, 20, 10, 11]
    own = torch.arange(200) // 10 == torch.arange(20).unsqueeze(1)  # [20, 200]
    noise = torch.rand(20, 20, 200, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    valid = torch.rand(20, 200, generator=torch.Generator().manual_seed(4)) < 0.9
    return SimpleNamespace(hits=hits.flatten(1, 2), logits=torch.where(own, 1 + 3 * noise, noise - 6), valid=valid)


@pytest.mark.parametrize("field", [FIELD, -FIELD])
def test_equals_the_definition(tracks, field):
    """Which counts hits that are not there with the weight 1e-9: without these, equal up to rounding."""
    alone = tracks.hits.view(400, 10, 11)
    logits = tracks.logits[:, :, :200].diagonal(dim1=0, dim2=1)[:10].T.abs().contiguous() + 1  # [20, 10]
    logits = logits.repeat(20, 1).unsqueeze(1)
    for fit, rounding, limit in ((SolenoidFit(field, max_hits=10), 1e-9, 1e-9), (SolenoidFit(field), 1e-7, 1e-5)):
        ours, theirs = both(fit, alone, logits, None)
        for name in SolenoidFit.gives:
            found = apart(name, ours, theirs).flatten()
            assert found.quantile(0.9) < rounding, name
            assert found.quantile(0.995) < limit, name


def test_equals_the_definition_in_events(tracks):
    ours, theirs = both(SolenoidFit(FIELD), tracks.hits, tracks.logits, tracks.valid)
    for name in SolenoidFit.gives:
        found = apart(name, ours, theirs).flatten()
        assert found.quantile(0.9) < 1e-6, name
        assert found.quantile(0.99) < 1e-4, name


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_hits(tracks, count):
    valid = torch.arange(200) % 10 < count
    ours, theirs = both(SolenoidFit(FIELD), tracks.hits, tracks.logits, valid.expand(20, -1))
    for name in SolenoidFit.gives:
        assert ours[name].isfinite().all(), name
        assert apart(name, ours, theirs).quantile(0.9) < (1e-2 if count else 1e-6), name
    if count == 0:
        assert torch.equal(ours["qpt"], torch.zeros_like(ours["qpt"]))
        torch.testing.assert_close(ours["z0_error"], torch.full_like(ours["z0_error"], 0.1))


def test_takes_the_most_probable_hits(tracks):
    """40 hits of probability > 0.1 and at most 16 of them; of equal ones those that come first."""
    logits = tracks.logits.clone()
    logits[..., :30] += 6.5
    ours, theirs = both(SolenoidFit(FIELD, max_hits=12), tracks.hits, logits, None)
    assert torch.equal(ours["posterior"] > 1e-300, theirs["posterior"] > 1e-300)
    equal = solenoid_fit(tracks.hits, torch.ones_like(logits), None, *NUMBERS, max_hits=10)
    first = solenoid_fit(tracks.hits[:, :10], torch.ones_like(logits[..., :10]), None, *NUMBERS)
    assert torch.equal(equal[0], first[0])


def test_foreign_hits_lose_their_weight_as_in_the_definition(tracks):
    hits, logits = tracks.hits.view(400, 10, 11), torch.full((400, 1, 10), 2.0, dtype=torch.float64)
    logits[..., 3] = 0.0
    hits = hits.clone()
    hits[:, 3, :3] += 0.02 * hits[:, 3, 3:6]
    ours, theirs = both(SolenoidFit(FIELD, max_hits=10), hits, logits, None)
    assert (ours["posterior"][..., 3] < 0.02).double().mean() > 0.95
    for name in SolenoidFit.gives:
        assert apart(name, ours, theirs).flatten().quantile(0.95) < 1e-6, name


def garbage(events: int, tracks: int, hits: int, seed: int, size: float) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(events, hits, 11, generator=generator).double()
    values[..., :3] *= size
    values[..., 9:] = values[..., 9:].abs() * 1e-6
    logits = torch.randn(events, tracks, hits, generator=generator).double() * 5
    return values, logits, torch.rand(events, hits, generator=generator) < 0.8


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 70),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([1e-6, 1.0, 5.0]),
    st.integers(3, 40),
)
def test_anything_is_finite_where_the_definition_is(events, tracks, hits, seed, threshold, size, max_hits):
    ours, theirs = both(SolenoidFit(FIELD, max_hits=max_hits), *garbage(events, tracks, hits, seed, size), threshold)
    for name, value in ours.items():
        assert value.shape == theirs[name].shape
        assert value.isfinite()[theirs[name].isfinite()].all(), name


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 1e300])
def test_what_padded_hits_hold_changes_no_bit(tracks, special):
    odd = torch.where(tracks.valid.unsqueeze(-1), tracks.hits, special)
    logits = torch.where(tracks.valid.unsqueeze(1), tracks.logits, special)
    expected = solenoid_fit(tracks.hits, tracks.logits, tracks.valid, *NUMBERS)
    for found, value in zip(solenoid_fit(odd, logits, tracks.valid, *NUMBERS), expected, strict=True):
        assert torch.equal(found, value)


@pytest.mark.parametrize("place", ["hits", "logits"])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 1e300])
def test_odd_numbers_in_one_event_stay_there(tracks, special, place):
    hits, logits = tracks.hits.clone(), tracks.logits.clone()
    {"hits": hits, "logits": logits}[place][3, ..., 5:] = special
    found = solenoid_fit(hits, logits, tracks.valid, *NUMBERS)
    expected = solenoid_fit(tracks.hits, tracks.logits, tracks.valid, *NUMBERS)
    others = torch.arange(len(hits)) != 3
    assert all(torch.equal(x[others], y[others]) for x, y in zip(found, expected, strict=True))


def test_one_odd_hit_leaves_the_other_tracks_of_its_event(tracks):
    hits = tracks.hits.clone()
    hits[:, 15, 0] = math.nan
    found = solenoid_fit(hits, tracks.logits, None, *NUMBERS)
    expected = solenoid_fit(tracks.hits, tracks.logits, None, *NUMBERS)
    others = torch.arange(20) != 1
    assert all(torch.equal(x[:, others], y[:, others]) for x, y in zip(found, expected, strict=True))
    assert found[0][:, 1, 0].isnan().all()


def test_does_not_depend_on_threads_or_strides(tracks):
    threads = torch.get_num_threads()
    given = tracks.hits, tracks.logits, tracks.valid
    strided = (
        tracks.hits.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        tracks.logits.mT.contiguous().mT,
        tracks.valid.t().contiguous().t(),
    )
    results = []
    try:
        for number, arrays in ((1, given), (3, given), (1, strided)):
            torch.set_num_threads(number)
            results.append(solenoid_fit(*arrays, *NUMBERS))
    finally:
        torch.set_num_threads(threads)
    for of_tracks, posterior in results:
        assert torch.equal(of_tracks, results[0][0])
        assert torch.equal(posterior, results[0][1])


def test_every_instruction_set_gives_the_same(tracks, tmp_path, capability):
    code = """
import sys, torch
torch.ops.load_library(sys.argv[1])
arguments = torch.load(sys.argv[2])
torch.save(torch.ops.hitpool.solenoid_fit(*arguments), sys.argv[2])
"""
    arguments = tracks.hits, tracks.logits, tracks.valid, *NUMBERS
    path = tmp_path / "tensors.pt"
    torch.save(arguments, path)
    subprocess.run(
        [sys.executable, "-c", code, hitpool.library_path(), str(path)],
        env=os.environ | {"ATEN_CPU_CAPABILITY": capability},
        cwd=Path(sys.executable).parent,
        check=True,
        timeout=120,
    )
    ours, theirs = (
        dict(zip(SolenoidFit.gives, [*of_tracks.unbind(-1), posterior], strict=True))
        for of_tracks, posterior in (torch.load(path), solenoid_fit(*arguments))
    )
    for name in SolenoidFit.gives:
        assert apart(name, ours, theirs).flatten().quantile(0.95) < 1e-8, name


def test_opcheck(tracks):
    hits, logits, valid = tracks.hits[:3, :40], tracks.logits[:3, :4, :40], tracks.valid[:3, :40]
    for mask in (valid, None):
        arguments = hits, logits, mask, *NUMBERS
        torch.library.opcheck(torch.ops.hitpool.solenoid_fit.default, arguments, {"threshold": 0.2, "max_hits": 8})


def test_vmap_is_one_call_for_all(tracks):
    hits, logits, valid = (x[:6].unflatten(0, (3, 2)) for x in (tracks.hits, tracks.logits, tracks.valid))
    found = torch.func.vmap(lambda *x: solenoid_fit(*x, *NUMBERS))(hits, logits, valid)
    for place in range(3):
        expected = solenoid_fit(hits[place], logits[place], valid[place], *NUMBERS)
        assert all(torch.equal(x[place], y) for x, y in zip(found, expected, strict=True))


def test_derivatives_are_refused(tracks):
    hits, logits = tracks.hits[:2], tracks.logits[:2]
    message = r"hitpool::solenoid_fit: expected {} without derivative, got a tensor that requires one"
    with pytest.raises(NotImplementedError, match=message.format("hits")):
        solenoid_fit(hits.clone().requires_grad_(), logits, None, *NUMBERS)
    with pytest.raises(NotImplementedError, match=message.format("logits")):
        solenoid_fit(hits, logits.clone().requires_grad_(), None, *NUMBERS)
    with pytest.raises(NotImplementedError, match=message.format("logits")):
        torch.func.jvp(lambda x: solenoid_fit(hits, x, None, *NUMBERS), (logits,), (logits,))
    with pytest.raises(NotImplementedError, match=message.format("logits")):
        torch.func.grad(lambda x: solenoid_fit(hits, x, None, *NUMBERS)[0].sum())(logits)
    with torch.no_grad():
        solenoid_fit(hits, logits.clone().requires_grad_(), None, *NUMBERS)


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"hits": torch.zeros(2, 5, 11)}, TypeError, r"hits with dtype float64, got Float"),
        ({"hits": torch.zeros(2, 5, 9).double()}, ValueError, r"hits with shape \[B, M, 11\], got \[2, 5, 9\]"),
        ({"logits": torch.zeros(2, 3, 5)}, TypeError, r"logits with dtype float64, got Float"),
        ({"logits": torch.zeros(2, 3, 6).double()}, ValueError, r"logits with shape \[B, N, M\] .*, got \[2, 3, 6\]"),
        ({"logits": torch.zeros(2, 3, 5).double().to("meta")}, ValueError, r"logits with the device of hits, cpu"),
        ({"valid": torch.ones(2, 5)}, TypeError, r"valid with dtype bool, got Float"),
        ({"valid": torch.ones(2, 6, dtype=torch.bool)}, ValueError, r"valid with shape \[B, M\] .*, got \[2, 6\]"),
        ({"field": 0.0}, ValueError, r"field with a finite value other than 0, got 0"),
        ({"field": math.nan}, ValueError, r"field with a finite value other than 0, got nan"),
        ({"radiation_lengths": 0.0}, ValueError, r"radiation_lengths with a positive value, got 0"),
        ({"beam_spot": [1.0]}, ValueError, r"beam_spot with 2 numbers, got 1"),
        ({"beam_spot": [1.0, 0.0]}, ValueError, r"beam_spot with positive values, got 0"),
        ({"threshold": 1.5}, ValueError, r"threshold with a value in \[0, 1\], got 1.5"),
        ({"max_hits": 0}, ValueError, r"max_hits with at least 1, got 0"),
        ({"hits": torch.zeros(2, 5, 11).double().to_sparse()}, TypeError, r"hits as a dense tensor, got layout Sparse"),
    ],
)
def test_wrong_arguments_are_named(changed, kind, message):
    arguments = {"hits": torch.zeros(2, 5, 11).double(), "logits": torch.zeros(2, 3, 5).double(), "valid": None}
    arguments |= {"field": 2.0, "radiation_lengths": 0.015, "beam_spot": [1e-3, 0.1]} | changed
    with pytest.raises(kind, match=f"^hitpool::solenoid_fit: expected {message}"):
        solenoid_fit(**arguments)


@pytest.fixture
def calls(monkeypatch) -> list:
    """One entry per call of the op by a fit."""
    made = []

    def recorded(*arguments, **options):
        made.append(arguments)
        return solenoid_fit(*arguments, **options)

    monkeypatch.setattr(hitpool.fits.solenoid, "solenoid_fit", recorded)
    return made


def test_the_fit_takes_the_op_where_it_can(tracks, calls):
    hits, logits, valid = tracks.hits[:2].float(), tracks.logits[:2].float(), tracks.valid[:2]
    fit = SolenoidFit(FIELD)
    fit(hits, logits, valid)
    with torch.no_grad():
        fit(hits, logits.clone().requires_grad_(), valid)
    assert len(calls) == 2
    for leaves in ((hits.clone().requires_grad_(), logits), (hits, logits.clone().requires_grad_())):
        assert fit(*leaves, valid)["qpt"].requires_grad
    torch.func.jvp(lambda x: fit(hits, x, valid)["eta"], (logits,), (logits,))
    shape = SolenoidFit(FIELD).to("meta")(hits.to("meta"), logits.to("meta"), valid.to("meta"))["qpt"].shape
    assert shape == (2, 20)
    assert len(calls) == 2


def test_recorded_forms_of_the_fit_hold_the_op(tracks):
    """TorchScript, torch.compile and torch.export, at other sizes than those they were recorded with."""
    parts = tracks.hits[:3, :50], tracks.logits[:3, :, :50], tracks.valid[:3, :50]
    small = tuple(values.contiguous() for values in parts)
    large = tracks.hits[:8], tracks.logits[:8], tracks.valid[:8]
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("count")}
    shapes = (sizes, {0: sizes[0], 2: sizes[1]}, sizes)
    fit = SolenoidFit(FIELD).eval()
    traced = torch.jit.trace(fit, small, check_trace=False, strict=False)
    exported = torch.export.export(fit, small, dynamic_shapes=shapes)
    assert "hitpool::solenoid_fit" in str(traced.inlined_graph)
    assert "hitpool.solenoid_fit" in str(exported.graph)
    compiled = torch.compile(fit, fullgraph=True, dynamic=True, backend="eager")
    for arguments in (small, large):
        expected = fit(*arguments)
        for form in (traced, exported.module(), compiled):
            for name, value in form(*arguments).items():
                assert torch.equal(value, expected[name]), name


def test_exported_models_run_on_a_gpu_too(tracks):
    """The kernel for GPUs, called directly: it copies to the CPU and back, so that it needs no GPU here."""
    on_gpu = torch.ops.hitpool.solenoid_fit.default._op_dk
    for valid in (None, tracks.valid):
        arguments = tracks.hits, tracks.logits, valid, *NUMBERS
        expected = solenoid_fit(*arguments, threshold=0.2, max_hits=16)
        found = on_gpu(torch._C.DispatchKey.CUDA, *arguments, threshold=0.2, max_hits=16)
        assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
