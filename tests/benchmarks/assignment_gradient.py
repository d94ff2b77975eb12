"""Does the assignment get better if the track fit takes part in the training?

    hitpool fit
    hitpool fit --seed_everything 43
    hitpool fit --seed_everything 44
    python tests/benchmarks/assignment_gradient.py runs/muon/version_*/ckpts/best.ckpt

From each finished training (with a warm-up), and from new weights (without), the model is trained with and without the
loss of the fitted parameters, in equal steps on equal events. Its gradient flows into the logits of the mask task of
the matched tracks. Afterwards a new response is trained, for each of them alike, and measured on the test events. What
is in the folder of results is not trained again.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hitpool.config import Objects, load, load_checkpoint
from hitpool.data import HitDataModule
from hitpool.evaluation.bootstrap import Number
from hitpool.evaluation.bound import resolution_bound
from hitpool.fits.response import FitResponse, _units
from hitpool.nn import MaskFormer
from hitpool.nn.angle import wrap_angle
from hitpool.residuals import periodic_residual, relative_residual, residual, sigma68
from hitpool.training.refinement import refine, refined_task
from hitpool.training.schedule import OneCycle

LARGEST_GRADIENT = 1.0  # of the fit of a track to the logits of its hits, where that of one cross-entropy is at most 1
GRADIENT_CLIP = 1.0  # of all parameters, as in muon.yaml
SHORT_CYCLE = OneCycle(initial=1e-5, max=2e-4, end=1e-5, weight_decay=1e-3)
TRUE = {"pt": "truthMuon_pt", "eta": "truthMuon_eta", "phi": "truthMuon_phi", "charge": "truthMuon_q"}
MEASURES = ("efficiency", "purity", "q/pT / bound", "eta / bound", "phi / bound", "beyond 20 %", "wrong charge")


@dataclass(frozen=True)
class Variant:
    """A training: its start, passes through the events, weight of the fit's gradient, and what it is compared with."""

    finished: bool
    passes: int
    weight: float
    against: str | None = None


def variants(passes: int) -> dict[str, Variant]:
    """All of them by name; `passes` are those from new weights."""
    return {
        "finished training": Variant(True, 0, 0.0),
        "trained on": Variant(True, 1, 0.0),
        "trained on, fit 10": Variant(True, 1, 10.0, "trained on"),
        "trained on, fit 100": Variant(True, 1, 100.0, "trained on"),
        "from scratch": Variant(False, passes, 0.0),
        "from scratch, fit 10": Variant(False, passes, 10.0, "from scratch"),
        "from scratch, fit 100": Variant(False, passes, 100.0, "from scratch"),
    }


def weighted(gradient: Tensor, weight: float, largest: float, clipped: list[float]) -> Tensor:
    """Gradients of tracks [P, M] times `weight`, those that are then longer than `largest` shortened to it."""
    norm = weight * gradient.norm(dim=-1, keepdim=True)
    clipped.append((norm > largest).double().mean().item())
    return gradient * (weight * largest / norm.clamp(min=largest))


def fit_loss(
    network: MaskFormer, done: dict, inputs: dict[str, Tensor], targets: dict[str, Tensor], weight: float, clipped: list
) -> Tensor:
    r"""Loss of the fitted q / pT, eta and phi of the matched tracks.

    It is $\log(1 + r^2 / 2) + 0.03 |r|$ of the residuals r in units of about the resolution, as in `FitResponse.loss`,
    summed over a track, as the cross-entropies of its hits are in the loss of the mask task, and normalised as that is.
    Its gradient to the logits, not that to the response, is multiplied by `weight`.
    """
    task = refined_task(network)
    particle = targets["particle_valid"]  # [B, N]
    event = particle.nonzero()[:, 0]  # [P]
    logits = done[network.tasks[1].name][task.logit_key]  # [B, N, M]
    share = 1 / (inputs["hit_valid"].sum().item() * logits.shape[1])
    own = logits[particle]  # [P, M]
    own.register_hook(partial(weighted, weight=weight, largest=share * LARGEST_GRADIENT, clipped=clipped))
    seen = {name: values[event] for name, values in inputs.items()}  # an event for each track
    fit = task.fit_tracks({"inputs": seen, "hit_valid": seen["hit_valid"]}, own.unsqueeze(1))
    learned = done[task.name]["track_regr"][particle].detach().double()
    pooled = task.fitted.chosen(learned * task.space.spread + task.space.mean).unsqueeze(1)  # [P, 1, 3]
    estimate, _ = task.response(task.response.describe(fit, pooled))
    physical = torch.stack([targets[f"particle_{name}"][particle] for name in task.fields], dim=-1)
    true = task.fitted.chosen(physical.double()).unsqueeze(1)
    difference = estimate - true
    difference = torch.cat([difference[..., :2], wrap_angle(difference[..., 2:])], dim=-1)
    pull = difference / _units(true[..., 0])
    return share * ((pull.square() / 2).log1p() + 0.03 * pull.abs().clamp(max=200)).sum()


def train(objects: Objects, variant: Variant) -> str:
    """Trains the transformer and says how it went."""
    network, task = objects.model.model, refined_task(objects.model.model)
    cycle = SHORT_CYCLE if variant.finished else objects.model.lrs_config
    task.response.requires_grad_(not variant.finished)
    task.response.declare(trained=False)  # so that the pooled regression learns as without a fit
    optimizer = objects.model.make_optimizer()
    loader = objects.datamodule.train_dataloader()
    steps, step, clipped, terms = variant.passes * len(loader), 0, [], []
    start = time.process_time()
    network.train()
    for number in range(variant.passes):
        loader.sampler.set_epoch(number)
        for inputs, targets in loader:
            matched = network.match(network(inputs), targets)
            losses = network.loss(matched, targets)
            loss = sum(value for layer in losses.values() for terms in layer.values() for value in terms.values())
            if variant.weight:
                of_fit = fit_loss(network, matched["final"], inputs, targets, variant.weight, clipped)
                terms.append(of_fit.item())
                loss = loss + of_fit
            optimizer.param_groups[0]["lr"] = cycle.at(step, steps)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_CLIP, error_if_nonfinite=True)
            optimizer.step()
            step += 1
            if step % 50 == 0:
                print(
                    f"  step {step} of {steps}, {time.process_time() - start:.0f} s: loss {loss.item():.4f}, "
                    f"gradient {norm.item():.2f}, fit {np.mean(terms[-50:] or 0):.4f}, "
                    f"tracks clipped {np.mean(clipped[-50:] or 0):.3f}",
                    flush=True,
                )
    network.eval()
    return f"{steps} steps in {time.process_time() - start:.0f} s of processor time"


@torch.no_grad()
def measure(network: MaskFormer, data: HitDataModule) -> dict[str, float]:
    """Assignment and parameters of the particles of the test events whose track is valid."""
    valid_task, mask_task, task = network.tasks[0], network.tasks[1], refined_task(network)
    parts, correct, true_hits, assigned = [], 0, 0, 0
    for inputs, targets in data.whole_dataloader("test"):
        preds = network.predict(network.match(network(inputs, intermediate=False), targets))["final"]
        chosen = targets["particle_valid"] & preds[valid_task.name]["track_valid"]  # [B, N]
        found, own = preds[mask_task.name]["track_hit_valid"][chosen], targets["particle_hit_valid"][chosen]
        correct, true_hits = correct + (found & own).sum().item(), true_hits + own.sum().item()
        assigned += found.sum().item()
        part = {name: preds[task.name][f"track_{name}"][chosen] for name in task.fields}
        parts.append(part | {f"true {name}": targets[f"particle_{name}"][chosen] for name in task.fields})
    found = {name: torch.cat([part[name] for part in parts]).double().numpy() for name in parts[0]}
    true = {name: found[f"true {field}"] for name, field in TRUE.items()}
    bound = resolution_bound(**true)
    qpt = relative_residual(found["truthMuon_qpt"], found["true truthMuon_qpt"])
    values = (
        correct / true_hits,
        correct / assigned,
        sigma68(qpt / bound.qpt),
        sigma68(residual(found["truthMuon_eta"], true["eta"]) / bound.eta),
        sigma68(periodic_residual(found["truthMuon_phi"], true["phi"]) / bound.phi),
        float((np.abs(qpt) > 0.2).mean()),
        float((found["truthMuon_q"] * true["charge"] <= 0).mean()),
    )
    return dict(zip(MEASURES, values, strict=True)) | {"tracks": len(qpt)}


def start_of(checkpoint: Path, variant: Variant, seed: int, settings: argparse.Namespace) -> Objects:
    """The model of a checkpoint, or the same with new weights."""
    objects = load_checkpoint(checkpoint)
    if not variant.finished:
        trained = objects.model.model
        objects = load(checkpoint.parent.parent / "config.yaml", {"seed_everything": seed})
        refined_task(objects.model.model).space.load_state_dict(refined_task(trained).space.state_dict())
    data = objects.datamodule
    data.num_train, data.num_test, data.seed = settings.train, settings.test, seed
    refined_task(objects.model.model).hit_response = None  # the masks are those of the mask task
    return objects


def run(checkpoint: Path, variant: Variant, seed: int, settings: argparse.Namespace) -> dict[str, float]:
    """Trains and measures one variant."""
    objects = start_of(checkpoint, variant, seed, settings)
    network, data = objects.model.model, objects.datamodule
    torch.manual_seed(seed)
    if variant.passes:
        print(train(objects, variant), flush=True)
    torch.manual_seed(seed)
    task = refined_task(network)
    task.response = FitResponse(task.response.sectors)
    batches = data.whole_dataloader("train"), data.whole_dataloader("val")
    print(refine(network, *batches, objects.model.refinement, seed, limit=settings.response // data.batch_size))
    return measure(network, data)


def table(known: dict[str, Variant], numbers: dict[str, dict[str, list[float]]]) -> str:
    """Mean and spread over the seeds of each variant, and of the differences to its control, as Markdown."""
    lines = [f"| | {' | '.join(MEASURES)} |", f"|---|{'---|' * len(MEASURES)}"]
    for name, values in numbers.items():
        lines.append(f"| {name} | {' | '.join(shown(values[measure]) for measure in MEASURES)} |")
        if (control := known[name].against) in numbers:
            pairs = [np.subtract(values[measure], numbers[control][measure]) for measure in MEASURES]
            lines.append(f"| ... difference | {' | '.join(shown(pair) for pair in pairs)} |")
    return "\n".join(lines)


def shown(values: list[float]) -> str:
    """Mean and standard deviation."""
    return str(Number.symmetric(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkpoints", nargs="+", type=Path, help="of finished trainings of muon.yaml, one for each seed"
    )
    parser.add_argument("--folder", type=Path, default=Path("gradient"), help="results")
    parser.add_argument("--train", type=int, default=20_000, help="training events")
    parser.add_argument("--passes", type=int, default=3, help="through them, from new weights")
    parser.add_argument("--response", type=int, default=13_000, help="events on which the response is trained")
    parser.add_argument("--test", type=int, default=5000, help="test events")
    settings = parser.parse_args()
    settings.folder.mkdir(parents=True, exist_ok=True)
    known = variants(settings.passes)
    numbers: dict[str, dict[str, list[float]]] = {}
    for name, variant in known.items():
        for seed, checkpoint in enumerate(settings.checkpoints, start=1):
            path = settings.folder / f"{name} {seed}.json"
            if not path.exists():
                print(f"{name}, seed {seed}", flush=True)
                path.write_text(json.dumps(run(checkpoint, variant, seed, settings) | asdict(variant)))
            stored = json.loads(path.read_text())
            for measure_name in MEASURES:
                numbers.setdefault(name, {}).setdefault(measure_name, []).append(stored[measure_name])
        print(table(known, numbers), flush=True)


if __name__ == "__main__":
    main()
