import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitpool.data import LengthGroupedBatchSampler


def lengths(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(6.0, 10.0, number).astype(int)


def padded_share(sampler: LengthGroupedBatchSampler) -> float:
    padded = sum(sampler.lengths[batch].max() * len(batch) for batch in sampler)
    return padded / sampler.lengths.sum()


@settings(deadline=None, max_examples=150)
@given(
    number=st.integers(1, 500),
    batch_size=st.integers(1, 60),
    ranks=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    epoch=st.integers(0, 1000),
    group=st.booleans(),
)
def test_each_event_once_and_equal_numbers_of_batches(number, batch_size, ranks, seed, epoch, group):
    if number < ranks:
        number += ranks
    samplers = [
        LengthGroupedBatchSampler(lengths(number), batch_size, seed, group, num_replicas=ranks, rank=rank)
        for rank in range(ranks)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    batches = [list(sampler) for sampler in samplers]
    assert {len(b) for b in batches} == {len(samplers[0])}
    every = list(itertools.chain(*batches))
    assert sorted(itertools.chain(*every)) == list(range(number))
    sizes = [len(batch) for batch in every]
    assert min(sizes) >= 1
    assert max(sizes) <= (batch_size if batch_size > 1 or number % ranks == 0 else 2)
    assert max(sizes) - min(sizes) <= 1


def test_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (the global state is what is tested)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = LengthGroupedBatchSampler(lengths(1000), 16, seed=3)
    orders = []
    for epoch in range(4):
        first.set_epoch(epoch)
        orders.append(list(first))
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002

    torch.manual_seed(77)
    resumed = LengthGroupedBatchSampler(lengths(1000), 16, seed=3)
    resumed.set_epoch(2)
    assert list(resumed) == orders[2]
    assert list(resumed) == orders[2]  # iterating does not change it
    other = LengthGroupedBatchSampler(lengths(1000), 16, seed=4)
    other.set_epoch(2)
    assert list(other) != orders[2]


def test_the_rest_of_an_epoch_is_the_same():
    sampler = LengthGroupedBatchSampler(lengths(100), 8, seed=3)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    continued = LengthGroupedBatchSampler(lengths(100), 8, seed=3)
    continued.continue_epoch(1, 5)
    assert len(continued) == len(sampler)
    assert list(continued) == orders[1][5:]
    continued.set_epoch(2)
    assert list(continued) == orders[2]


def test_members_and_order_change_from_epoch_to_epoch():
    sampler = LengthGroupedBatchSampler(lengths(2000), 20, seed=1)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append({frozenset(batch) for batch in sampler})
    for a, b in itertools.combinations(epochs, 2):
        assert not a & b


@pytest.mark.parametrize("group", [True, False])
def test_without_reshuffling_every_epoch_is_the_same(group):
    sampler = LengthGroupedBatchSampler(lengths(300), 7, seed=1, group_by_length=group, reshuffle=False)
    first = list(sampler)
    sampler.set_epoch(5)
    assert list(sampler) == first
    assert list(itertools.chain(*first)) != list(range(300))


def test_grouping_saves_padding():
    grouped = LengthGroupedBatchSampler(lengths(20000), 200, seed=1)
    ungrouped = LengthGroupedBatchSampler(lengths(20000), 200, seed=1, group_by_length=False)
    assert padded_share(grouped) < 1.08
    assert padded_share(ungrouped) > 1.8


def test_batches_are_not_ordered_by_length():
    sampler = LengthGroupedBatchSampler(lengths(20000), 200, seed=1)
    means = np.array([sampler.lengths[batch].mean() for batch in sampler])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.35  # 3.5 standard deviations of 100 values
    assert abs(means[:20].mean() - means.mean()) < 0.5 * means.std()


def test_ungrouped_batches_are_independent_of_length():
    sampler = LengthGroupedBatchSampler(np.sort(lengths(20000)), 200, seed=1, group_by_length=False)
    means = np.array([sampler.lengths[batch].mean() for batch in sampler])
    assert means.std() < 2 * sampler.lengths.std() / np.sqrt(200)


def test_ranks_get_batches_of_similar_length_at_each_step():
    ranks = [LengthGroupedBatchSampler(lengths(8000), 50, seed=1, num_replicas=4, rank=rank) for rank in range(4)]
    longest = np.array([[sampler.lengths[batch].max() for batch in sampler] for sampler in ranks])  # [ranks, steps]
    assert np.median(longest.max(0) - longest.min(0)) <= 10


def test_batch_sizes_are_equal_when_they_divide():
    assert {len(batch) for batch in LengthGroupedBatchSampler(lengths(2000), 200)} == {200}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"batch_size": 2, "num_replicas": 2, "rank": 2}, "rank: expected 0 to 1, got 2"),
        ({"batch_size": 2, "num_replicas": 4, "rank": 0}, "each of 4 ranks, got 3 events"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        LengthGroupedBatchSampler([1, 2, 3], **arguments)
