"""What the knowledge of the magnetic field is worth to the toroid fit, with the assignment of one finished training.

    python tests/benchmarks/toroid_fields.py runs/muon/version_0/ckpts/best.ckpt

For each field the second phase of the training is run from the start; the table shows the fit alone, and with the
response, on the true particles of the test events.
"""

import argparse
import copy
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hitpool.config import load_checkpoint
from hitpool.fits import BoxToroid, FieldMap, LearnedField
from hitpool.simulation import toroid_field
from hitpool.training.refinement import describe, refine, refined_task


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


def sigma68(values: Tensor) -> float:
    """Half of the central 68.27 %."""
    low, high = values.quantile(torch.tensor([0.158655, 0.841345], dtype=values.dtype))
    return (high - low).item() / 2


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    arguments = parser.parse_args()
    objects = load_checkpoint(arguments.checkpoint)
    data, settings = objects.datamodule, objects.model.refinement
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
            network = copy.deepcopy(objects.model.model)
            task = refined_task(network)
            task.track_fit.field = field
            task.response = type(task.response)(task.response.sectors)
            batches = data.whole_dataloader("train"), data.whole_dataloader("val")
            refine(network, *batches, settings, seed=0)
            network.eval()
            kept, true = describe(network, data.whole_dataloader("test"), torch.device("cpu"), None)
            qpt = true[f"{task.target_object}_truthMuon_qpt"].double()
            fit = kept[task.late_key("fit")][:, 0] / qpt - 1
            described = {key: kept[task.late_key(key)] for key in ("fit", "pooled", "features")}
            with torch.no_grad():
                estimate = task.response(described)[0][:, 0] / qpt - 1
            print(
                f"{name:24} {sigma68(fit):10.4f} {sigma68(estimate):10.4f} "
                f"{(estimate.abs() > 0.2).double().mean():8.4f} {(estimate > -1).double().mean():8.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
