"""Random calls of every op against its definition: sizes from 0 to 70, special values, strides, types, threads.

HITPOOL_FUZZ=1000000 makes that many calls of each op, HITPOOL_FUZZ_SEED starts elsewhere.
"""

import math
import os

import pytest
import torch
from torch import Tensor

import hitpool
from hitpool.fits import SolenoidFit, ToroidFit
from hitpool.ops import reference
from hitpool.ops.attention import attention
from hitpool.ops.solenoid_fit import solenoid_fit
from hitpool.ops.toroid_fit import toroid_fit

CALLS = int(os.environ.get("HITPOOL_FUZZ", "1500"))
SEED = int(os.environ.get("HITPOOL_FUZZ_SEED", "0"))
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
SPECIAL = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0])


class Random:
    """Draws from one seed, which names the case."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def integer(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        return float(torch.rand((), generator=self.generator)) < probability

    def choice(self, options):
        return options[self.integer(0, len(options) - 1)]

    def size(self) -> int:
        return self.integer(0, 70) if self.chance(0.3) else self.integer(0, 9)

    def normal(self, *sizes: int) -> Tensor:
        return torch.randn(sizes, generator=self.generator, dtype=torch.float64)

    def mask(self, probability: float, *sizes: int) -> Tensor:
        return torch.rand(sizes, generator=self.generator) < probability

    def special(self, tensor: Tensor, where: Tensor) -> Tensor:
        drawn = SPECIAL[torch.randint(len(SPECIAL), tensor.shape, generator=self.generator)]
        return torch.where(where, drawn.to(tensor.dtype), tensor)

    def layout(self, tensor: Tensor) -> Tensor:
        """The same numbers, laid out in another way."""
        kind = self.integer(0, 4)
        if kind == 1 and tensor.dim() > 1:
            return tensor.mT.contiguous().mT
        if kind == 2 and tensor.dim() > 0:
            return torch.stack([tensor, tensor], -1).flatten(-2)[..., ::2]
        if kind == 3:
            return torch.cat([tensor.flatten()[:1], tensor.flatten()])[-tensor.numel() :].view(tensor.shape)
        if kind == 4 and tensor.dim() > 1:
            return tensor.transpose(0, -1).contiguous().transpose(0, -1)
        return tensor


def agree(got: Tensor, want: Tensor, tolerance: float) -> None:
    assert got.shape == want.shape
    torch.testing.assert_close(got.double(), want.double(), rtol=tolerance, atol=tolerance, equal_nan=True)


def run_calls(random: Random, op, definition, arrays: list[Tensor], others: list[Tensor | None]) -> int:
    """Call the op for each group of events, the definition for all at once; returns the number of calls."""
    dtype = arrays[-1].dtype
    tolerance = max(TOLERANCE[x.dtype] for x in arrays)
    events = arrays[0].shape[0]
    group = random.integer(1, 3)
    pieces, results, bare = [], [], []
    for first in range(0, events, group):
        part = slice(first, first + group)
        leaves = [random.layout(x[part].contiguous()).detach().requires_grad_() for x in arrays]
        given = [None if x is None else random.layout(x[part].contiguous()) for x in others]
        pieces += leaves
        results.append(op(*leaves, *given))
        with torch.no_grad():
            bare.append(op(*leaves, *given))
    exact = [x.clone().requires_grad_() for x in arrays]
    expected = definition(*exact, *others)
    result = torch.cat(results)
    assert result.dtype == expected.dtype == dtype
    agree(result, expected, tolerance)
    agree(torch.cat(bare), result, 0.0)

    weight = random.normal(*expected.shape).to(dtype)
    got = torch.autograd.grad(results, pieces, [random.layout(x.contiguous()) for x in weight.split(group)])
    want = torch.autograd.grad(expected, exact, weight)
    for number, theirs in enumerate(want):
        ours = torch.cat(got[number :: len(arrays)])
        assert ours.dtype == theirs.dtype
        finite = ours.isfinite() & theirs.isfinite()  # inf - inf and inf may stand for each other
        assert torch.equal(ours.isfinite(), theirs.isfinite())
        size = theirs[finite].double().abs().max() if finite.any() else 1.0
        agree(torch.where(finite, ours, 0), torch.where(finite, theirs, 0), 10 * tolerance * max(1.0, float(size)))
    return 2 * len(results)


def fuzz_pool(random: Random) -> int:
    events, tracks, hits, features = random.integer(1, 40), random.size(), random.size(), random.size()
    threshold = random.choice([0.0, 1e-6, 0.1, 0.5, 0.9])
    logits = (4 * random.normal(events, tracks, hits) - random.choice([0, 3])).to(random.choice(DTYPES))
    x = random.normal(events, hits, features).to(random.choice(DTYPES))
    valid = random.mask(random.choice([0.2, 0.8]), events, hits) if random.chance(0.7) else None
    if threshold > 0:  # a comparison in floating point does not decide what is next to the threshold
        cut = math.log(threshold / (1 - threshold))
        logits = torch.where((logits.double() - cut).abs() < 1e-3 * (1 + abs(cut)), cut + 1, logits.double()).to(
            logits.dtype
        )
    if features > 0 and random.chance(0.5):
        logits = random.special(logits, random.mask(0.02, *logits.shape))
        x = random.special(x, random.mask(0.02, *x.shape))
        if valid is not None:
            logits = random.special(logits, ~valid.unsqueeze(-2))
            x = random.special(x, ~valid.unsqueeze(-1))

    def pool(function):
        return lambda a, b, v: function(a, b, v, threshold=threshold)

    return run_calls(random, pool(hitpool.weighted_pool), pool(reference.weighted_pool), [logits, x], [valid])


def attention_by_definition(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        mask = torch.ones(query.shape[0], 1, key.shape[1], dtype=torch.bool)
    asked = mask.any(1)[..., None, None]
    key, value = torch.where(asked, key, 0.0), torch.where(asked, value, 0.0)
    score = torch.einsum("bqhe,bkhe->bhqk", query, key) / math.sqrt(query.shape[-1])
    nothing = ~mask.any(2, keepdim=True).unsqueeze(1)
    score = torch.where(mask.unsqueeze(1), score, torch.where(nothing, 0.0, -math.inf))
    return torch.einsum("bhqk,bkhe->bqhe", torch.where(nothing, 0.0, score.softmax(-1)), value)


def fuzz_attention(random: Random) -> int:
    events, queries, keys = random.integer(1, 40), random.size(), random.size()
    heads, size, dtype = random.integer(1, 4), random.choice([4, 8]), random.choice(DTYPES[:2])
    arrays = [random.choice([0.1, 1, 3]) * random.normal(events, n, heads, size) for n in (queries, keys, keys)]
    arrays = [x.to(dtype) for x in arrays]
    kind = random.integer(0, 2)
    mask = None
    if kind > 0:
        mask = random.mask(random.choice([0.1, 0.5, 0.9]), events, 1 if kind == 1 else queries, keys)
        mask = mask & random.mask(0.8, events, 1, keys)
        if random.chance(0.5):
            asked = mask.any(1)[..., None, None]
            arrays[1:] = [random.special(x, ~asked.expand(x.shape)) for x in arrays[1:]]
    return run_calls(random, attention, attention_by_definition, arrays, [mask])


def in_window(mask: Tensor, window: int, wrap: bool) -> Tensor:
    """Which hits see each other [B, K, K]."""
    rank = mask.cumsum(-1)  # [B, 1, K]
    away = (rank - rank.mT).abs()
    away = torch.minimum(away, mask.sum(-1, keepdim=True) - away) if wrap else away
    return (away <= window // 2) & mask & mask.mT


def fuzz_attention_in_window(random: Random) -> int:
    events, hits, heads, size = random.integer(1, 10), random.size(), random.integer(1, 4), random.choice([4, 8])
    dtype, window, wrap = random.choice(DTYPES[:2]), 2 * random.integer(1, 40), random.chance(0.5)
    mask = random.mask(random.choice([0.1, 0.5, 0.9, 1.1]), events, 1, hits)
    arrays = [random.choice([0.1, 1, 3]) * random.normal(events, hits, heads, size).to(dtype) for _ in range(3)]
    if random.chance(0.5):
        arrays = [random.special(x, ~mask.mT.unsqueeze(-1).expand(x.shape)) for x in arrays]

    def windowed(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        return attention(query, key, value, mask, window, wrap)

    def definition(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        query = torch.where(mask.mT.unsqueeze(-1), query, 0.0)
        return attention_by_definition(query, key, value, in_window(mask, window, wrap))

    return run_calls(random, windowed, definition, arrays, [mask])


def fuzz_pseudorapidity(random: Random) -> int:
    dtype = random.choice(DTYPES)
    shape = [random.integer(1, 40), *(random.size() for _ in range(random.integer(0, 2)))]
    theta = math.pi / (1 + (-3 * random.normal(*shape)).exp())
    theta = theta.to(dtype).clamp(1e-3, 3.13)
    if random.chance(0.5):
        theta = random.special(theta, random.mask(0.1, *shape))
        theta = torch.where(random.mask(0.05, *shape), torch.tensor(math.pi, dtype=dtype), theta)
        theta = torch.where(random.mask(0.05, *shape), torch.tensor(3.3, dtype=dtype), theta)

    def exact(t: Tensor) -> Tensor:
        """In float64, except at the end, which is the number of the type that stands for pi."""
        end = t == torch.tensor(math.pi, dtype=dtype)
        return reference.pseudorapidity(t.double() + torch.where(end, math.pi - t.detach().double(), 0.0)).to(dtype)

    return run_calls(random, hitpool.pseudorapidity, exact, [theta], [])


def fuzz_toroid_fit(random: Random) -> int:
    """Hits that no track left: values may leave the definition's, but not what is finite, nor which hits take part."""
    events, tracks, hits = random.integer(1, 40), random.integer(0, 4), random.size()
    fit, threshold = ToroidFit(max_hits=random.integer(4, 70)), random.choice([0.0, 0.1, 1.0])
    fields = random.choice([1e-3, 1, 5, 1e6]) * random.normal(events, hits, 10)
    fields[..., 6:9] = fields[..., 6:9].abs() * 1e-3
    fields[..., 9] = random.mask(0.7, events, hits).double()
    logits = 5 * random.normal(events, tracks, hits)
    valid = random.mask(random.choice([0.2, 0.8]), events, hits)
    numbers = fit.geometry.numbers(), *fit.field.numbers()
    clean = fields.masked_fill(~valid.unsqueeze(-1), 0)
    results, group = [], random.integer(1, 3)
    odd = random.special(fields, ~valid.unsqueeze(-1)), random.special(logits, ~valid.unsqueeze(-2)), valid
    for first in range(0, events, group):
        given = [random.layout(x[first : first + group].contiguous()) for x in odd]
        results.append(toroid_fit(*given, *numbers, threshold=threshold, max_hits=fit.max_hits))
    together = toroid_fit(clean, logits, valid, *numbers, threshold=threshold, max_hits=fit.max_hits)
    for result, whole in zip(map(torch.cat, zip(*results, strict=True)), together, strict=True):
        agree(result, whole, 0.0)
    if random.chance(0.2):  # the definition is slow
        expected = fit.definition(clean, logits, valid, threshold)
        for whole, wanted in zip(together, expected, strict=True):
            assert whole.shape == wanted.shape
            assert whole.isfinite()[wanted.isfinite()].all()
        assert torch.equal(together[1][:, :, -1], expected[1][:, :, -1])  # hit_taken
    return len(results) + 1


def fuzz_solenoid_fit(random: Random) -> int:
    """Points that no track left: values may leave the definition's, but not what is finite."""
    events, tracks, hits = random.integer(1, 40), random.integer(0, 4), random.size()
    fit, threshold = SolenoidFit(2.0, max_hits=random.integer(3, 30)), random.choice([0.0, 0.1, 1.0])
    fields = random.normal(events, hits, 11)
    fields[..., :3] *= random.choice([1e-3, 1, 5])
    fields[..., 9:] = fields[..., 9:].abs() * 1e-6
    logits = 5 * random.normal(events, tracks, hits)
    valid = random.mask(random.choice([0.2, 0.8]), events, hits)
    numbers = 2.0, fit.radiation_lengths, list(fit.beam_spot)
    clean = fields.masked_fill(~valid.unsqueeze(-1), 0)
    results, group = [], random.integer(1, 3)
    odd = random.special(fields, ~valid.unsqueeze(-1)), random.special(logits, ~valid.unsqueeze(-2)), valid
    for first in range(0, events, group):
        given = [random.layout(x[first : first + group].contiguous()) for x in odd]
        results.append(solenoid_fit(*given, *numbers, threshold=threshold, max_hits=fit.max_hits))
    together = solenoid_fit(clean, logits, valid, *numbers, threshold=threshold, max_hits=fit.max_hits)
    for result, whole in zip(map(torch.cat, zip(*results, strict=True)), together, strict=True):
        agree(result, whole, 0.0)
    if random.chance(0.2):  # the definition is slow
        expected = fit.definition(clean, logits, valid, threshold)
        for whole, wanted in zip(together, expected, strict=True):
            assert whole.shape == wanted.shape
            assert whole.isfinite()[wanted.isfinite()].all()
    return len(results) + 1


FUZZED = [
    fuzz_pool,
    fuzz_attention,
    fuzz_attention_in_window,
    fuzz_pseudorapidity,
    fuzz_toroid_fit,
    fuzz_solenoid_fit,
]


@pytest.mark.parametrize("fuzz", FUZZED)
def test_random_calls_equal_the_definition(fuzz):
    threads, calls, seed = torch.get_num_threads(), 0, SEED
    try:
        while calls < CALLS:
            if seed % 50 == 0:
                torch.set_num_threads(1 + seed // 50 % 3)
            try:
                calls += fuzz(Random(seed))
            except (AssertionError, RuntimeError) as error:
                raise AssertionError(f"{fuzz.__name__}(Random({seed}))") from error
            seed += 1
    finally:
        torch.set_num_threads(threads)
    print(f"{fuzz.__name__}: {calls} calls, {seed - SEED} cases")
