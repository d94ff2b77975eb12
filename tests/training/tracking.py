"""A small model with all tasks, and random events to train it on."""

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hitpool.nn import DecoderLayerConfig, Dense, Encoder, InputNet, MaskFormer, MaskFormerDecoder
from hitpool.tasks import ObjectHitMaskTask, ObjectValidTask, WeightedPoolingObjectHitRegressionTask

HIT_FIELDS = ["x", "y", "z"]
FIELDS = ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]
COMMON = {"input_object": "query", "output_object": "track", "target_object": "particle", "dim": 16}


def make_regression(
    kind: type[WeightedPoolingObjectHitRegressionTask] = WeightedPoolingObjectHitRegressionTask, **options: object
) -> WeightedPoolingObjectHitRegressionTask:
    arguments = {"hit_fields": HIT_FIELDS, "fields": FIELDS, "inverse_fields": ["truthMuon_pt"], "loss_weight": 1.0}
    return kind(name="parameter_regression", input_hit="hit", **COMMON, **(arguments | options))


def make_network(seed: int, regression: nn.Module, layers: int = 1) -> MaskFormer:
    torch.manual_seed(seed)
    terms = {"mask_bce": 1.0}
    tasks = [
        ObjectValidTask(name="track_valid", losses={"object_bce": 1.0}, costs={"object_bce": 1.0}, **COMMON),
        ObjectHitMaskTask(name="track_hit_valid", input_hit="hit", losses=terms, costs=terms, **COMMON),
        regression,
    ]
    return MaskFormer(
        input_nets=nn.ModuleList([InputNet("hit", HIT_FIELDS, Dense(3, 16))]),
        encoder=Encoder(layers, 16, num_heads=4, dropout=0.3),
        decoder=MaskFormerDecoder(1, 2, DecoderLayerConfig(dim=16, num_heads=4, dropout=0.3)),
        tasks=nn.ModuleList(tasks),
        dim=16,
    )


def make_batch(generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    valid = torch.tensor([[True, True], [True, False], [True, True]])
    inputs = {f"hit_{name}": torch.randn(3, 12, generator=generator) for name in HIT_FIELDS}
    inputs["hit_valid"] = torch.arange(12) < torch.tensor([[12], [9], [11]])
    link = torch.randint(0, 2, (3, 12), generator=generator)
    mask = (link.unsqueeze(1) == torch.arange(2).view(1, 2, 1)) & inputs["hit_valid"].unsqueeze(1) & valid.unsqueeze(2)
    targets = {"particle_valid": valid, "particle_hit_valid": mask, "hit_valid": inputs["hit_valid"]}
    targets["sample_id"] = torch.arange(3)
    for field in FIELDS:
        value = 1 + torch.rand(3, 2, generator=generator)
        targets[f"particle_{field}"] = torch.where(valid, value, torch.nan)
    return inputs, targets


class Events(pl.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.batches = [make_batch(generator) for _ in range(4)]

    def train_targets(self) -> dict[str, Tensor]:
        valid = self.batches[0][1]["particle_valid"]
        return {field: self.batches[0][1][f"particle_{field}"][valid] for field in FIELDS}

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None)

    val_dataloader = train_dataloader
