"""Calls of weighted_pool for the emulated kernels: random ones, and ones at the limits of their design."""

import random

import torch
from torch import Tensor

from .kernels import DTYPES, Call

EVENTS = (1, 1, 2, 3, 6)
TRACKS = (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70, 130, 257, 300)
HITS = (0, 1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1000, 1025, 2049, 3000)
FEATURES = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    12,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    100,
    127,
    128,
    129,
    130,
    132,
    199,
    200,
    256,
    260,
)
SPECIAL = (float("nan"), float("inf"), -float("inf"))

# events, tracks, hits, features, threshold, logits, features: lists that fill up, more tracks than bits in a pass,
# several tiles of features, more work than warps
double, single, half, bfloat = torch.float64, torch.float32, torch.float16, torch.bfloat16
DIRECTED = (
    (1, 1, 3000, 3, 0.0, single, single),
    (1, 2, 3000, 4, 0.1, double, single),
    (1, 2, 5000, 1, 0.0, single, double),
    (1, 1, 9000, 2, 0.0, single, single),
    (1, 300, 40, 9, 0.1, single, single),
    (1, 257, 65, 4, 0.1, double, single),
    (1, 600, 33, 2, 0.0, single, single),
    (2, 70, 70, 33, 0.1, half, single),
    (1, 3, 700, 260, 0.0, single, bfloat),
    (1, 1, 2500, 130, 0.0, double, double),
    (1, 130, 33, 140, 0.0, single, half),
    (40, 1, 3, 4, 0.1, bfloat, bfloat),
)


def away_from(threshold: float, logits: Tensor) -> Tensor:
    """Logits whose probability is not so near to the threshold that rounding decides."""
    if not 0 < threshold < 1:
        return logits
    near = (logits.double().sigmoid() - threshold).abs() < 0.02 * threshold * (1 - threshold) + 1e-4
    return torch.where(near, logits + 0.5, logits)


def make_call(
    shape: tuple[int, int, int, int],
    threshold: float,
    logits_dtype: torch.dtype,
    features_dtype: torch.dtype,
    *,
    seed: int,
    valid: bool = False,
    ties: bool = False,
    shift: float = -2.0,
) -> Call:
    """A random call.

    Args:
        shape: B, N, M, D
        threshold: Of the selection.
        logits_dtype: Type of the logits.
        features_dtype: Type of the features.
        seed: Of the numbers.
        valid: Whether a quarter of the hits is padding.
        ties: Whether features are small whole numbers.
        shift: Mean of the logits.
    """
    B, N, M, D = shape
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    logits = away_from(threshold, 3 * normal(B, N, M) + shift)
    logits = away_from(threshold, logits.to(logits_dtype))
    features = 2 * normal(B, M, D)
    mask = torch.rand(B, M, generator=generator) > 0.25 if valid else None
    grad = normal(B, N, 4, D).to(features_dtype)
    return Call(logits, (features.round() if ties else features).to(features_dtype), mask, threshold, grad)


def random_shape(r: random.Random, budget: int) -> tuple[int, int, int, int]:
    while True:
        B, N = r.choice(EVENTS), r.choice([*TRACKS, r.randint(0, 70)])
        M, D = r.choice([*HITS, r.randint(0, 700)]), r.choice([*FEATURES, r.randint(1, 200)])
        if B * N * M * max(D, 4) <= budget:
            return B, N, M, D


def random_case(seed: int, budget: int = 150_000, special: bool = False) -> tuple[Call, int, int]:
    """A call of any shape and kind, and how far inputs and outputs are from a multiple of 64 bytes, in numbers.

    Args:
        seed: Of everything.
        budget: Limit of B N M D.
        special: With NaN and infinities.
    """
    r = random.Random(seed)
    shape = random_shape(r, budget)
    threshold = r.choice([0.0, 0.1, 0.1, 0.1, 0.5, 1e-3, 1.0])
    call = make_call(
        shape,
        threshold,
        r.choice(DTYPES),
        r.choice(DTYPES),
        seed=seed,
        valid=r.random() < 0.5,
        ties=r.random() < 0.4,
        shift=r.choice([-2, -2, 6, -6, -12]),
    )
    generator = torch.Generator().manual_seed(seed + 1)
    if threshold == 1 and call.logits.numel():
        certain = torch.rand(call.logits.shape, generator=generator) < 0.3
        call.logits[certain] = 60.0  # probability 1
    if threshold > 0 and call.logits.numel():
        call.logits[:, r.randrange(shape[1])] = -30.0  # a track without hits
    if special:
        for tensor in (call.logits, call.features):
            for value in r.sample(SPECIAL, r.randint(1, 3)) if tensor.numel() and r.random() < 0.8 else ():
                places = torch.randint(tensor.numel(), (r.choice([1, 1, 3, 20]),), generator=generator)
                tensor.view(-1)[places] = value
    shift = r.choice([0, 0, 0, 1, 2, 3])
    return call, shift, r.choice([shift, shift, 0, 1])
