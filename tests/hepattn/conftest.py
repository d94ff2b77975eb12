"""Models, tasks and batches as hepattn and its muon fork have them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hitpool.hepattn.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.tasks import ObjectHitMaskTask, ObjectValidTask

from .stand_ins import Fork, Model, Sorter, Upstream

HIT_FIELDS = ["x", "y", "z", "r", "phi"]
FIELDS = ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]
SLOTS = 3
Batch = tuple[dict[str, Tensor], dict[str, Tensor]]
MODELS = {
    "upstream": (Upstream, "input_constituent", {}),
    "upstream, sorter": (Upstream, "input_constituent", {"sorter": Sorter("phi")}),
    "fork": (Fork, "input_hit", {}),
    "fork, input_sort_field": (Fork, "input_hit", {"input_sort_field": "phi"}),
    "upstream, masks at the end only": (Upstream, "input_constituent", {}),
    "fork, masks scored at the end only": (Fork, "input_hit", {}),
}


def make_tasks(argument: str, dim: int = 16, **options: object) -> list[nn.Module]:
    common = {"input_object": "query", "output_object": "track", "target_object": "particle", "dim": dim}
    return [
        ObjectValidTask(name="track_valid", losses={"object_bce": 1.0}, costs={"object_bce": 1.0}, **common),
        ObjectHitMaskTask("track_hit_valid", "hit", losses={"mask_bce": 1.0}, costs={"mask_bce": 1.0}, **common),
        WeightedPoolingObjectHitRegressionTask(
            name="parameter_regression",
            hit_fields=HIT_FIELDS,
            fields=FIELDS,
            inverse_fields=["truthMuon_pt"],
            loss_weight=1.0,
            **common,
            **{argument: "hit"},
            **options,
        ),
    ]


def make_model(kind: str, seed: int = 1, layers: int = 2, **options: object) -> Model:
    torch.manual_seed(seed)
    model, argument, settings = MODELS[kind]
    tasks = make_tasks(argument, **options)
    tasks[1].has_intermediate_loss = "at the end only" not in kind
    return model(tasks, HIT_FIELDS, dim=16, queries=SLOTS, layers=layers, **settings)


def make_batch(events: int = 5, hits: int = 18, particles: bool = True, padding: bool = True) -> Batch:
    """Padded hits anywhere in the row, some hits at the same phi, last event without particles."""
    generator = torch.Generator().manual_seed(4)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    hit_valid = random(events, hits) > 0.3 if padding else torch.ones(events, hits, dtype=torch.bool)
    count = torch.arange(events).flip(0).clamp(max=SLOTS) if particles else torch.zeros(events)
    count = count.clamp(min=1) if particles and events == 1 else count
    valid = torch.arange(SLOTS) < count.view(-1, 1)  # [B, N]
    inputs = {f"hit_{name}": 4 * random(events, hits) - 2 for name in HIT_FIELDS}
    inputs["hit_phi"] = (inputs["hit_phi"] * 4).round() / 4  # many are equal
    inputs = {name: value * hit_valid for name, value in inputs.items()} | {"hit_valid": hit_valid}
    link = torch.randint(-1, SLOTS, (events, hits), generator=generator)
    mask = (link.unsqueeze(1) == torch.arange(SLOTS).view(1, -1, 1)) & hit_valid.unsqueeze(1) & valid.unsqueeze(2)

    def target(low: float, high: float) -> Tensor:
        return torch.where(valid, low + (high - low) * random(events, SLOTS), torch.nan)

    targets = {
        "particle_valid": valid,
        "particle_hit_valid": mask,
        "hit_valid": hit_valid,
        "hit_on_valid_particle": mask.any(1),
        "sample_id": torch.arange(events),
        "particle_truthMuon_eta": target(-2.7, 2.7),
        "particle_truthMuon_phi": target(-3.1, 3.1),
        "particle_truthMuon_pt": target(5, 200),
        "particle_truthMuon_q": target(-1, 1).sign(),
    }
    return inputs, targets


@pytest.fixture(params=MODELS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def build() -> Callable[..., Model]:
    return make_model


@pytest.fixture
def batch() -> Callable[..., Batch]:
    return make_batch
