"""A small model with all tasks, and random batches for it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hitpool.nn import (
    DecoderLayerConfig,
    Dense,
    Encoder,
    InputNet,
    MaskFormer,
    MaskFormerDecoder,
    PositionEncoder,
)
from hitpool.tasks import ObjectHitMaskTask, ObjectValidTask, WeightedPoolingObjectHitRegressionTask

HIT_FIELDS = ["x", "y", "z", "theta", "phi"]
FIELDS = ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]
Batch = tuple[dict[str, Tensor], dict[str, Tensor]]


def make_tasks(dim: int = 16, **options: object) -> list[nn.Module]:
    common = {"input_object": "query", "output_object": "track", "target_object": "particle", "dim": dim}
    return [
        ObjectValidTask(name="track_valid", losses={"object_bce": 1.0}, costs={"object_bce": 10.0}, **common),
        ObjectHitMaskTask(
            name="track_hit_valid",
            input_hit="hit",
            losses={"mask_bce": 1.0},
            costs={"mask_bce": 1.0},
            **common,
        ),
        WeightedPoolingObjectHitRegressionTask(
            name="parameter_regression",
            input_hit="hit",
            hit_fields=HIT_FIELDS,
            fields=FIELDS,
            inverse_fields=["truthMuon_pt"],
            loss_weight=1.0,
            **common,
            **options,
        ),
    ]


def make_model(
    dim: int = 16,
    queries: int = 2,
    layers: int = 2,
    tasks: list[nn.Module] | None = None,
    encoder_dim: int | None = None,
    **decoder: object,
) -> MaskFormer:
    torch.manual_seed(1)
    net = Dense(len(HIT_FIELDS), dim)
    posenc = PositionEncoder("hit", dim, fields=["theta", "phi"], sym_fields=["phi"])
    config = DecoderLayerConfig(dim=dim, num_heads=4)
    return MaskFormer(
        input_nets=nn.ModuleList([InputNet("hit", HIT_FIELDS, net, posenc)]),
        encoder=Encoder(layers, encoder_dim or dim, num_heads=4),
        decoder=MaskFormerDecoder(layers, queries, config, **decoder),
        tasks=nn.ModuleList(make_tasks(dim) if tasks is None else tasks),
        dim=dim,
    )


def make_batch(
    lengths: list[int], particles: list[int], slots: int = 2, size: int | None = None, seed: int = 0
) -> Batch:
    """Events with these numbers of hits and of particles, padded to `size` hits."""
    generator = torch.Generator().manual_seed(seed)
    events, size = len(lengths), max(lengths, default=0) if size is None else size
    hit_valid = torch.arange(size) < torch.tensor(lengths).view(-1, 1)  # [B, M]
    valid = torch.arange(slots) < torch.tensor(particles).view(-1, 1)  # [B, N]
    inputs = {f"hit_{name}": torch.randn(events, size, generator=generator) * hit_valid for name in HIT_FIELDS}
    link = torch.randint(-1, slots, (events, size), generator=generator)
    mask = (link.unsqueeze(1) == torch.arange(slots).view(1, -1, 1)) & hit_valid.unsqueeze(1) & valid.unsqueeze(2)

    def target(low: float, high: float) -> Tensor:
        return torch.where(valid, low + (high - low) * torch.rand(events, slots, generator=generator), torch.nan)

    targets = {
        "particle_valid": valid,
        "particle_hit_valid": mask,
        "hit_valid": hit_valid,
        "hit_on_valid_particle": mask.any(1),
        "sample_id": torch.arange(100, 100 + events),
        "particle_truthMuon_eta": target(-2.7, 2.7),
        "particle_truthMuon_phi": target(-3.14, 3.14),
        "particle_truthMuon_pt": target(5, 200),
        "particle_truthMuon_q": target(-1, 1).sign(),
    }
    return inputs | {"hit_valid": hit_valid}, targets


@pytest.fixture
def build() -> Callable[..., MaskFormer]:
    return make_model


@pytest.fixture
def tasks() -> Callable[..., list[nn.Module]]:
    return make_tasks


@pytest.fixture
def batch() -> Callable[..., Batch]:
    return make_batch
