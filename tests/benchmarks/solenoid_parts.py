"""What beam spot, scattering and directions of the modules are worth to the fit in a solenoid, in units of the filter.

    python tests/benchmarks/solenoid_parts.py runs/acts/version_0/ckpts/best.ckpt

The assignment is that of one finished training; the tracks are the true particles of the test events whose track is
declared valid. Nothing is trained: the table shows the fit alone.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hitpool.config import load_checkpoint
from hitpool.evaluation.quantities import RESOLUTIONS, complete
from hitpool.evaluation.reference import read_reference
from hitpool.fits import SolenoidFit
from hitpool.nn.fields import stack_fields
from hitpool.residuals import sigma68
from hitpool.training.refinement import refined_task

CERTAIN = 20.0  # logit of a true hit
NO_MATERIAL, WIDE = 1e-9, (1e-3, 1.0)


def along_the_detector(hits: Tensor) -> Tensor:
    """Directions as x, y and z tell them: around the beam, and along it in the barrel or outwards in the disks."""
    point, _, second, variance = hits.split([3, 3, 3, 2], dim=-1)
    radial = torch.nn.functional.normalize(point * point.new_tensor([1.0, 1.0, 0.0]), dim=-1)
    around = torch.stack([-radial[..., 1], radial[..., 0], torch.zeros_like(radial[..., 0])], dim=-1)
    barrel = second[..., 2:].abs() > 0.5
    return torch.cat([point, around, torch.where(barrel, second, radial), variance], dim=-1)


@torch.no_grad()
def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    objects = load_checkpoint(parser.parse_args().checkpoint)
    data, network = objects.datamodule, objects.model.model.eval()
    task = refined_task(network)
    fit = task.track_fit
    units = dict(zip(fit.inputs, fit.scale.tolist(), strict=True))

    def variant(**options: object) -> SolenoidFit:
        same = {"field": fit.field, "units": units, "radiation_lengths": fit.radiation_lengths}
        return SolenoidFit(**same | {"beam_spot": tuple(fit.prior[:2].tolist()), "max_hits": fit.max_hits} | options)

    variants = {
        "as it is": (fit, Tensor.clone),
        "without beam spot": (variant(beam_spot=WIDE), Tensor.clone),
        "without scattering": (variant(beam_spot=WIDE, radiation_lengths=NO_MATERIAL), Tensor.clone),
        "without directions": (variant(beam_spot=WIDE), along_the_detector),
    }
    reference = complete(read_reference(data.dataset("test"), "kalman_")[0])
    kept: dict[str, list[Tensor]] = {}
    for inputs, targets in data.whole_dataloader("test"):
        outputs = network.match(network(inputs, intermediate=False), targets)["final"]
        assigned = next(out[task.logit_key] for out in outputs.values() if task.logit_key in out)
        belongs = targets[f"{task.target_object}_{task.input_hit}_valid"]
        declared = network.predict({"final": outputs})["final"]["track_valid"]["track_valid"]
        there = targets[f"{task.target_object}_valid"] & declared
        event = targets["sample_id"].numpy()
        for name in ("qpt", "eta", "phi"):
            kept.setdefault(f"true {name}", []).append(targets[f"{task.target_object}_{name}"][there])
            filtered = torch.from_numpy(reference[name][event][:, : there.shape[1]])
            kept.setdefault(f"filter {name}", []).append(filtered[there])
        hits, valid = stack_fields(inputs, task.input_hit, fit.inputs), inputs[f"{task.input_hit}_valid"]
        for kind, logits in (("model", assigned), ("true", torch.where(belongs, CERTAIN, -CERTAIN))):
            for label, (own, change) in variants.items():
                estimate = own(change(hits), logits, valid, task.assignment_threshold)
                for name in ("qpt", "eta", "phi"):
                    kept.setdefault(f"{kind} {label} {name}", []).append(estimate[name][there])
    found = {key: torch.cat(values).double().numpy() for key, values in kept.items()}
    print(f"{len(found['true qpt'])} tracks; sigma68 / that of the filter")
    print(f"{'fit':20} {'hits':6} {'q / pT':>7} {'eta':>7} {'phi':>7} {'charge':>7}")
    for label in variants:
        for kind in ("model", "true"):
            ratios = []
            for name in ("qpt", "eta", "phi"):
                true, residual = found[f"true {name}"], RESOLUTIONS[name].residual
                own, other = found[f"{kind} {label} {name}"], found[f"filter {name}"]
                ratios.append(sigma68(residual(own, true)) / sigma68(residual(other, true)))
            charge = np.mean(found[f"{kind} {label} qpt"] * found["true qpt"] > 0)
            print(f"{label:20} {kind:6} " + " ".join(f"{ratio:7.3f}" for ratio in ratios) + f" {charge:7.4f}")


if __name__ == "__main__":
    main()
