"""What the knowledge of the magnetic field is worth to the toroid fit, with the assignment of one finished training.

    python tests/benchmarks/toroid_fields.py runs/muon/version_0/ckpts/best.ckpt

For each field the response is trained anew; the table shows the fit alone, and with the response, on the true particles
of the test events.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from frozen_assignment import describe, estimate, frozen_batches, train_response
from torch import Tensor, nn

from hitpool.config import load_checkpoint
from hitpool.fits import BoxToroid, FieldMap, LearnedField
from hitpool.residuals import sigma68
from hitpool.simulation import toroid_field
from hitpool.training.field_refinement import refine_field
from hitpool.training.refinement import refined_task


class ConstantBoxes(BoxToroid):
    """The same field everywhere in the barrel, and another one in the end caps."""

    def forward(self, r: Tensor, z: Tensor, phi: Tensor) -> Tensor:
        return super().forward(r, z, phi) * r.clamp(min=0.3)


def true_map(folder: Path, factor: float) -> FieldMap:
    """Table of the field of the simulation, times a factor."""
    r, z, phi = np.linspace(0.3, 12, 240), np.linspace(0, 22, 450), np.arange(16) * math.pi / 64
    x, y, height = (
        values.transpose(0, 2, 1)
        for values in np.broadcast_arrays(
            (r[:, None] * np.cos(phi))[..., None], (r[:, None] * np.sin(phi))[..., None], z[None, None]
        )
    )
    path = folder / "field.npz"
    np.savez(path, r=r, z=z, phi=phi, B=factor * toroid_field(x, y, height))
    return FieldMap(str(path))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--train", type=int, default=20_000, help="number of training events, -1 for all")
    arguments = parser.parse_args()
    objects = load_checkpoint(arguments.checkpoint)
    data, network = objects.datamodule, objects.model.model.eval()
    data.num_train = arguments.train
    task = refined_task(network)
    events = {split: frozen_batches(network, data.whole_dataloader(split)) for split in ("train", "val", "test")}
    print(f"{'field':24} {'fit alone':>10} {'response':>10} {'> 20 %':>8} {'charge':>8}")
    with tempfile.TemporaryDirectory() as temporary:
        fields: dict[str, nn.Module] = {
            "map of the simulation": true_map(Path(temporary), 1.0),
            "map, 10 % too strong": true_map(Path(temporary), 1.1),
            "BoxToroid (default)": BoxToroid(),
            "constant boxes": ConstantBoxes(barrel=0.5, endcap=0.9),
            "learned, from BoxToroid": LearnedField(),
            "learned, constant boxes": LearnedField(ConstantBoxes(barrel=0.5, endcap=0.9)),
        }
    for name, field in fields.items():
        task.track_fit.field = field
        if isinstance(field, LearnedField):
            batches = (data.whole_dataloader(split) for split in ("train", "val"))
            refine_field(network, task, *batches, torch.device("cpu"), 0, None)
        samples = {split: describe(task, batches) for split, batches in events.items()}
        train_response(task, samples["train"], samples["val"], objects.model.refinement)
        qpt = samples["test"][1][f"{task.target_object}_truthMuon_qpt"].double()
        fit = samples["test"][0][task.late_key("fit")][:, 0] / qpt - 1
        found = estimate(task, samples["test"])[:, 0] / qpt - 1
        print(
            f"{name:24} {sigma68(fit):10.4f} {sigma68(found):10.4f} "
            f"{(found.abs() > 0.2).double().mean():8.4f} {(found > -1).double().mean():8.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
