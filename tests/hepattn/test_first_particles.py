import subprocess
import sys

import pytest
import torch
from torch import Tensor

from hitpool.hepattn.first_particles import FirstParticles
from hitpool.tasks.target_space import TargetSpace


def particles(count: int, shift: float = 0.0, seed: int = 0) -> Tensor:
    return 3 * torch.randn(count, 1, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.fixture
def first() -> FirstParticles:
    return FirstParticles(TargetSpace(["eta"], standardize=True))


def test_first_particles_of_a_training_give_mean_and_spread(first: FirstParticles) -> None:
    with pytest.warns(UserWarning, match="standardize is true and nothing was trained yet"):
        first.learn(particles(50, shift=90), training=False)
    assert abs(first.space.mean.item() - 90) < 2
    batches = [particles(400, shift=7, seed=seed) for seed in range(5)]
    for batch in batches:
        first.learn(batch, training=True)
        first.learn(batch + 50, training=False)  # evaluation in between
    counted = torch.cat(batches[:3])  # the first 1,000 and what came with them
    torch.testing.assert_close(first.space.mean, counted.mean(0))
    torch.testing.assert_close(first.space.spread, counted.std(0, correction=0))


def test_batches_without_particles_or_with_equal_ones_give_a_spread_of_one(first: FirstParticles) -> None:
    first.learn(torch.zeros(0, 1), training=True)
    assert (first.space.mean.item(), first.space.spread.item()) == (0, 1)
    first.learn(torch.full((3, 1), 0.3), training=True)
    assert (first.space.mean.item(), first.space.spread.item()) == (pytest.approx(0.3), 1)


def test_inverse_fields_are_learned_as_inverse_and_signs_not_at_all() -> None:
    first = FirstParticles(TargetSpace(["pt", "q"], inverse_fields=["pt"], sign_fields=["q"], standardize=True))
    first.learn(torch.tensor([[2.0, 1.0], [10.0, 1.0]]), training=True)
    torch.testing.assert_close(first.space.mean, torch.tensor([0.3, 0.0]))
    torch.testing.assert_close(first.space.spread, torch.tensor([0.2, 1.0]))


@pytest.mark.parametrize("standardize", [False, {"eta": (0.0, 1.5)}])
def test_given_numbers_stay(standardize: bool | dict) -> None:
    space = TargetSpace(["eta"], standardize=standardize)
    before = space.spread.clone()
    FirstParticles(space).learn(particles(10), training=True)
    assert torch.equal(space.spread, before)


LEARN = """
import sys
import torch
from hitpool.hepattn.first_particles import FirstParticles
from hitpool.tasks.target_space import TargetSpace

folder, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
space = TargetSpace(["eta"], standardize=True)
FirstParticles(space).learn(torch.load(f"{folder}/particles_{rank}.pt"), training=True)
torch.save(space.state_dict(), f"{folder}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


def test_all_processes_of_a_training_learn_the_same(tmp_path) -> None:
    for rank in range(2):
        torch.save(particles(10, seed=rank), tmp_path / f"particles_{rank}.pt")
    processes = [subprocess.Popen([sys.executable, "-c", LEARN, tmp_path, str(rank)]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    both = torch.cat([particles(10, seed=rank) for rank in range(2)])
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(state["mean"], both.mean(0))
        torch.testing.assert_close(state["spread"], both.std(0, correction=0))
