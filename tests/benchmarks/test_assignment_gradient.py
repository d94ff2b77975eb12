"""Parts of assignment_gradient.py, on a model with random weights."""

import assignment_gradient
import pytest
import torch

from hitpool.config import Objects, load
from hitpool.simulation import simulate


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    folder = tmp_path_factory.mktemp("events")
    simulate(folder / "events", 20, processes=1)
    overrides = {f"data.{split}_dir": str(folder / "events") for split in ("train", "val", "test")}
    found = load("muon.yaml", overrides | {"runs": str(folder / "runs")})
    found.model.model.tasks[2].fit_standardization(found.datamodule.train_targets())
    return found


def test_gradients_are_weighted_and_long_ones_shortened_and_counted():
    clipped: list[float] = []
    found = assignment_gradient.weighted(torch.tensor([[3.0, 4.0], [0.03, 0.04]]), 10.0, 1.0, clipped)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    assert clipped == [0.5]


def test_gradient_of_the_fit_reaches_the_logits_of_matched_tracks_only(objects: Objects):
    network = objects.model.model
    inputs, targets = next(iter(objects.datamodule.whole_dataloader("train")))
    done = network.match(network(inputs), targets)["final"]
    mask, regression = network.tasks[1].name, network.tasks[2].name
    own, truth = targets["particle_hit_valid"], targets["particle_valid"]
    logits = torch.where(own, 4.0, -1.0).masked_fill(~inputs["hit_valid"].unsqueeze(1), -1e9).requires_grad_()
    learned = done[regression]["track_regr"].detach().requires_grad_()
    done = done | {mask: {"track_hit_logit": logits}, regression: {"track_regr": learned}}
    loss = assignment_gradient.fit_loss(network, done, inputs, targets, 10.0, [])
    gradient, of_head = torch.autograd.grad(loss, [logits, learned], allow_unused=True)
    assert of_head is None
    assert (gradient[truth].norm(dim=-1) > 0).all()
    assert not gradient[~truth].any()
    share = 1 / (inputs["hit_valid"].sum() * logits.shape[1])
    assert gradient.norm(dim=-1).max() <= share * 1.001 * assignment_gradient.LARGEST_GRADIENT


def test_a_training_with_the_fit_changes_the_masks_otherwise_than_one_without(objects: Objects):
    torch.manual_seed(0)
    network, before = objects.model.model, {k: v.clone() for k, v in objects.model.model.state_dict().items()}
    after = []
    for weight in (0.0, 0.0, 100.0):
        network.load_state_dict(before)
        assignment_gradient.train(objects, assignment_gradient.Variant(True, 1, weight))
        after.append(network.tasks[1].hit_net[0].weight.detach().clone())
    assert torch.equal(after[0], after[1])
    assert not torch.equal(after[1], after[2])
