"""What each part of the pooled regression brings: many heads, trained alike on the assignment of one frozen model.

    hitpool simulate --preset sample --output sample/train --events 20000
    hitpool simulate --preset sample --output sample/val --events 2000 --split 1
    hitpool simulate --preset sample --output sample/test --events 5000 --split 2
    hitpool fit --simulate.train 20000 --trainer.max_epochs 24
    hitpool fit --name sample --data.train_dir sample/train --data.val_dir sample/val --data.test_dir sample/test \
        --trainer.max_epochs 24
    python tests/benchmarks/seed_claims.py full=runs/muon/version_0/ckpts/best.ckpt \
        sample=runs/sample/version_0/ckpts/best.ckpt --folder claims

Per preset of the simulation, new events are simulated and run through the frozen encoder, decoder and mask task once;
what a head reads of each track is kept. Predictions of each head and seed go to `claims/<preset>/predictions`, and what
is there is not trained again. The tables are printed and written to `claims/<preset>/claims.md` and `claims.json`.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hitpool.config import Objects, load_checkpoint
from hitpool.data import LengthGroupedBatchSampler
from hitpool.evaluation.bootstrap import Number
from hitpool.fits import FitResponse, ToroidFit
from hitpool.nn import MaskFormer
from hitpool.residuals import periodic_residual, relative_residual, residual, sigma68
from hitpool.simulation import simulate
from hitpool.tasks import ObjectRegressionTask, WeightedPoolingObjectHitRegressionTask
from hitpool.tasks.base import Task
from hitpool.tasks.regression import RegressionTask
from hitpool.training.refinement import refine

SEED = 2  # of the simulation; the models are trained on events of seed 1
SPLITS = {"train": 0, "val": 1, "test": 2}
EQUAL = ("train", "val", "test", "passes", "batch_size")  # settings that all heads share
LEAST = 0.05  # lowest threshold: less probable hits are not kept
RESAMPLES = 100
RESOLVED = 4.3  # errors: 95 % of Student's t with the two degrees of freedom of three seeds
HIGH_PT = 50.0  # GeV
FEW_FIELDS = ["truthMuon_eta", "truthMuon_phi", "truthMuon_pt", "truthMuon_q"]
POOLS = ("mean", "sum", "max", "min")
ORIGINAL_HITS = [f"spacePoint_globEdge{edge}{axis}" for edge in ("High", "Low") for axis in "XYZ"]
ORIGINAL_HITS += [f"spacePoint_{name}" for name in ("time", "driftR", "covXX", "covXY", "covYX", "covYY", "channel")]
ORIGINAL_HITS += [f"spacePoint_{name}" for name in ("layer", "stationPhi", "stationEta", "stationIndex", "technology")]
ORIGINAL_HITS += ["r", "s", "theta", "phi"]


@dataclass(frozen=True)
class Variant:
    """A head: options of its task, what it sees of the pooled features, and the variant that it is compared with."""

    options: dict[str, Any]
    against: str | None
    pooled: bool = True
    sources: tuple[str, ...] = ("raw", "encoded")
    pools: tuple[str, ...] = POOLS
    rounded: bool = False
    fitted: bool = False


def variants(default: dict[str, Any]) -> dict[str, Variant]:
    """All of them; `default` are the options of the pooled regression of muon.yaml without its fit."""
    shared = {name: default[name] for name in ("name", "input_object", "output_object", "target_object", "dim")}
    plain = shared | {"fields": FEW_FIELDS, "loss_weight": 1.0}
    pooled = plain | {"input_hit": default["input_hit"], "hit_fields": ORIGINAL_HITS}
    with_eta = pooled | {"hit_fields": [*ORIGINAL_HITS, "eta"]}
    inverse = with_eta | {"inverse_fields": ["truthMuon_pt"]}
    same_targets = ("periodic_fields", "sign_fields", "prediction_range", "standardize")
    targets = inverse | {name: default[name] for name in same_targets}
    query = shared | {name: default[name] for name in (*same_targets, "fields", "inverse_fields", "loss")}
    found = {
        "query, plain targets": Variant(plain, None, pooled=False),
        "pooled: no eta, plain pT": Variant(pooled, "query, plain targets"),
        "+ eta": Variant(with_eta, "pooled: no eta, plain pT"),
        "+ 1/pT": Variant(inverse, "+ eta"),
        "+ targets": Variant(targets, "+ 1/pT"),
        "+ LayerNorm": Variant(targets | {"layer_norm": True}, "+ targets"),
        "+ head of muon.yaml": Variant(default, "+ LayerNorm"),
        "+ fit": Variant(default, "+ head of muon.yaml", fitted=True),
        "query": Variant(query | {"loss_weight": 1.0}, "+ head of muon.yaml", pooled=False),
        "plain pT": Variant(default | {"inverse_fields": []}, "+ head of muon.yaml"),
        "raw only": Variant(default, "+ head of muon.yaml", sources=("raw",)),
        "encoded only": Variant(default, "+ head of muon.yaml", sources=("encoded",)),
        "mean and sum only": Variant(default, "+ head of muon.yaml", pools=("mean", "sum")),
        "extrema only": Variant(default, "+ head of muon.yaml", pools=("max", "min")),
        "bfloat16 fields": Variant(default, "+ head of muon.yaml", rounded=True),
    }
    for threshold in (0.05, 0.2, 0.3, 0.5):
        found[f"threshold {threshold}"] = Variant(default | {"assignment_threshold": threshold}, "+ head of muon.yaml")
    found["+ targets, raw only"] = Variant(targets, "+ targets", sources=("raw",))
    found["+ targets, raw only, no eta"] = Variant(
        targets | {"hit_fields": ORIGINAL_HITS}, "+ targets, raw only", sources=("raw",)
    )
    return found


class Embeddings(Task):
    """Stands for the regression and hands on what a head reads."""

    def __init__(self, dim: int) -> None:
        super().__init__("embeddings", dim, ["queries"], has_intermediate_loss=False)

    def forward(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        return {"queries": x["query_embed"], "hits": x["hit_embed"]}


@dataclass
class Tracks:
    """What the heads read of P matched tracks with H hits in all, and the truth."""

    fields: list[str]  # F raw hit fields
    queries: Tensor  # [P, D]
    count: Tensor  # hits of each track [P]
    logits: Tensor  # [H]
    raw: Tensor  # [H, F]
    encoded: Tensor  # [H, D]
    true: dict[str, Tensor]  # [P] each
    event: Tensor  # [P]
    declared: Tensor  # bool [P]
    first: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.count.cumsum(0) - self.count

    def __len__(self) -> int:
        return len(self.queries)

    def seen_by(self, variant: Variant) -> "Tracks":
        """The same tracks with the raw hit fields that a head reads."""
        fields = variant.options.get("hit_fields", [])
        raw = self.raw[:, [self.fields.index(name) for name in fields]]
        return replace(self, fields=fields, raw=raw.bfloat16().float() if variant.rounded else raw)

    def batch(self, index: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Inputs and targets of a task: an event of one track for each track of `index` [B]."""
        count = self.count[index]
        position = torch.arange(max(1, int(count.max())))
        valid = position < count.unsqueeze(-1)  # [B, M]
        hit = torch.where(valid, self.first[index].unsqueeze(-1) + position, 0)
        raw = self.raw[hit].unbind(-1)  # F of [B, M]
        x = {
            "inputs": {f"hit_{name}": value for name, value in zip(self.fields, raw, strict=True)},
            "query_embed": self.queries[index].unsqueeze(1),
            "hit_embed": self.encoded[hit],
            "hit_valid": valid,
            "track_hit_logit": self.logits[hit].unsqueeze(1),
        }
        targets = {f"particle_{name}": value[index].unsqueeze(-1) for name, value in self.true.items()}
        return x, targets | {"particle_valid": torch.ones(len(index), 1, dtype=torch.bool)}


@torch.no_grad()
def describe(network: MaskFormer, batches: Iterable, fields: list[str]) -> Tracks:
    """Runs the frozen network over events and keeps the tracks that belong to the true particles."""
    valid, mask = network.tasks[:2]
    frozen = copy.deepcopy(network).eval()
    frozen.tasks = nn.ModuleList([valid, mask, Embeddings(network.dim)])
    kept: dict[str, list[Tensor]] = {}
    true: dict[str, list[Tensor]] = {}
    for inputs, targets in batches:
        done = frozen.match(frozen(inputs, intermediate=False), targets)["final"]
        particle = targets["particle_valid"]  # [B, N]
        event = particle.nonzero()[:, 0]  # [P]
        logits = done[mask.name]["track_hit_logit"][particle]  # [P, M]
        chosen = (logits.sigmoid() >= LEAST) & inputs["hit_valid"][event]
        track, hit = chosen.nonzero().unbind(-1)
        part = {
            "queries": done["embeddings"]["queries"][particle],
            "count": chosen.sum(-1),
            "logits": logits[track, hit],
            "raw": torch.stack([inputs[f"hit_{name}"][event[track], hit] for name in fields], dim=-1),
            "encoded": done["embeddings"]["hits"][event[track], hit],
            "event": targets["sample_id"][event],
            "declared": valid.predict(done[valid.name])["track_valid"][particle],
        }
        for name, value in part.items():
            kept.setdefault(name, []).append(value)
        for name, value in targets.items():
            if name.startswith("particle_truthMuon"):
                true.setdefault(name.removeprefix("particle_"), []).append(value[particle])
    whole = {name: torch.cat(values) for name, values in kept.items()}
    return Tracks(fields, **whole, true={name: torch.cat(values) for name, values in true.items()})


def build(variant: Variant, fit: dict[str, Any], response: dict[str, Any]) -> RegressionTask:
    """The task of a variant, untrained."""
    if not variant.pooled:
        return ObjectRegressionTask(**variant.options)
    parts = {"track_fit": ToroidFit(**fit), "response": FitResponse(**response)} if variant.fitted else {}
    task = WeightedPoolingObjectHitRegressionTask(**variant.options, **parts)
    seen = [[source in variant.sources and pool in variant.pools] for source in ("raw", "encoded") for pool in POOLS]
    pooled = torch.tensor(seen).expand(-1, task.pooled_dim).flatten()  # [8 P]
    seen = torch.cat([torch.ones(task.dim, dtype=torch.bool), pooled])
    task.regression_head.register_forward_pre_hook(lambda _, inputs: (inputs[0] * seen,))
    return task


def train(task: RegressionTask, tracks: Tracks, settings: argparse.Namespace, seed: int) -> None:
    """Trains all of a task, with the optimizer and the schedule of muon.yaml."""
    task.fit_standardization(tracks.true)
    sampler = LengthGroupedBatchSampler(tracks.count.numpy(), settings.batch_size, seed=seed)
    parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2.5e-3, weight_decay=1e-3, fused=True)
    steps = settings.passes * len(sampler)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2.5e-3, total_steps=steps + 1, pct_start=0.1)
    task.train()
    for number in range(settings.passes):
        sampler.set_epoch(number)
        for index in sampler:
            x, targets = tracks.batch(torch.tensor(index))
            (loss,) = task.loss(task(x, {"assignment": x}), targets).values()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            cycle.step()
    task.eval()


@torch.no_grad()
def predict(task: RegressionTask, tracks: Tracks) -> dict[str, NDArray]:
    """eta, phi, pT and charge of each track."""
    found = []
    for index in torch.arange(len(tracks)).split(500):
        x, _ = tracks.batch(index)
        predicted = task.predict(task(x, {"assignment": x}))
        found.append(torch.cat([predicted[f"track_{name}"] for name in FEW_FIELDS], dim=-1))
    return dict(zip(FEW_FIELDS, torch.cat(found).numpy().T, strict=True))


Predictions = dict[str, NDArray]
MEASURES: dict[str, Callable[[Predictions, Predictions], float]] = {
    "sigma68 of pT": lambda found, true: sigma68(relative(found, true)),
    f"... pT > {HIGH_PT:.0f} GeV": lambda found, true: sigma68(relative(found, true)[true["truthMuon_pt"] > HIGH_PT]),
    "beyond 20 % in pT": lambda found, true: float((np.abs(relative(found, true)) > 0.2).mean()),
    "sigma68 of eta": lambda found, true: sigma68(residual(found["truthMuon_eta"], true["truthMuon_eta"])),
    "sigma68 of phi [rad]": lambda found, true: sigma68(
        periodic_residual(found["truthMuon_phi"], true["truthMuon_phi"])
    ),
    "wrong charge": lambda found, true: float((found["truthMuon_q"] * true["truthMuon_q"] <= 0).mean()),
}


def relative(found: Predictions, true: Predictions) -> NDArray:
    return relative_residual(found["truthMuon_pt"], true["truthMuon_pt"])


def resamples(event: NDArray) -> list[NDArray]:
    """Numbers of tracks: all of them, then those of events drawn with replacement."""
    order = np.argsort(event, kind="stable")
    _, first, count = np.unique(event[order], return_index=True, return_counts=True)
    random, drawn = np.random.default_rng(1), [np.arange(len(event))]
    for _ in range(RESAMPLES):
        which = random.integers(0, len(first), len(first))
        drawn.append(np.concatenate([order[first[e] : first[e] + count[e]] for e in which]))
    return drawn


def measure(predictions: list[Predictions], true: Predictions, drawn: list[NDArray]) -> dict[str, NDArray]:
    """Each measure for all seeds and resamples [S, 1 + R]."""

    def pick(values: Predictions, index: NDArray) -> Predictions:
        return {name: value[index] for name, value in values.items()}

    return {
        name: np.array([[function(pick(found, i), pick(true, i)) for i in drawn] for found in predictions])
        for name, function in MEASURES.items()
    }


def ratio(values: NDArray, others: NDArray) -> tuple[float, float]:
    """Mean over the seeds of the ratio of two variants [S, 1 + R] each, and its error.

    The error is the scatter of the seeds and that of the test events, by bootstrap with the same events for both.
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where a few tracks have no residual or no wrong charge
        quotient = values / others
    of_seeds = quotient[:, 0].std(ddof=1) / math.sqrt(len(quotient))
    return float(quotient[:, 0].mean()), float(math.hypot(of_seeds, quotient[:, 1:].mean(0).std(ddof=1)))


def tables(known: dict[str, Variant], numbers: dict[str, dict[str, NDArray]]) -> tuple[str, dict[str, Any]]:
    """Two tables as Markdown, values and ratios to the variant that each is compared with, and both as JSON."""
    head = f"| | {' | '.join(MEASURES)} |\n|---|{'---|' * len(MEASURES)}\n"
    values, ratios = "", head.replace("| |", "| | against |").replace("|---|", "|---|---|", 1)
    stored: dict[str, Any] = {}
    for name, found in numbers.items():
        cells = [(each[:, 0].mean(), each[:, 0].std(ddof=1)) for each in found.values()]
        values += f"| {name} | {' | '.join(str(Number.symmetric(*cell)) for cell in cells)} |\n"
        stored[name] = {"mean and spread": dict(zip(found, cells, strict=True))}
        other = known[name].against
        if other not in numbers:
            continue
        compared = {measure: ratio(each, numbers[other][measure]) for measure, each in found.items()}
        shown = [
            f"{Number.symmetric(value, error)}{'' if abs(value - 1) >= RESOLVED * error else ' (not resolved)'}"
            for value, error in compared.values()
        ]
        ratios += f"| {name} | {other} | {' | '.join(shown)} |\n"
        stored[name] |= {"against": other, "ratio and error": compared}
    return f"{head}{values}\n{ratios}", stored


def check_settings(folder: Path, settings: argparse.Namespace) -> None:
    """Refuses to go on in a folder whose heads were trained otherwise."""
    path, present = folder / "settings.json", {name: getattr(settings, name) for name in EQUAL}
    if not path.exists():
        path.write_text(json.dumps(present))
    elif (stored := json.loads(path.read_text())) != present:
        raise ValueError(f"{path}: expected {stored}, got {present}; choose another --folder")


def run(objects: Objects, preset: str, folder: Path, settings: argparse.Namespace) -> str:
    """Trains what is missing for a preset, and gives its tables."""
    check_settings(folder, settings)
    data, network = objects.datamodule, objects.model.model
    for split, number in SPLITS.items():
        path = folder / split
        if not path.exists():
            simulate(path, getattr(settings, split), seed=SEED, preset=preset, split=number)
        setattr(data, f"{split}_dir", path)
    data.inputs = {"hit": [*data.inputs["hit"], "phi", "spacePoint_stationPhi"]}
    default = dict(objects.config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"][2]["init_args"])
    fit, response, _ = (default.pop(name).get("init_args") for name in ("track_fit", "response", "hit_response"))
    known = variants(default)
    start = time.monotonic()
    train_tracks, test_tracks = (
        describe(network, data.whole_dataloader(split), data.inputs["hit"]) for split in ("train", "test")
    )
    print(f"{preset}: {len(train_tracks)} and {len(test_tracks)} tracks kept in {time.monotonic() - start:.0f} s")
    chosen = test_tracks.declared.numpy()
    true = {name: test_tracks.true[name].numpy()[chosen] for name in FEW_FIELDS}
    drawn = resamples(test_tracks.event.numpy()[chosen])
    (folder / "predictions").mkdir(exist_ok=True)
    numbers = {}
    for name in settings.variants or known:
        variant, predictions = known[name], []
        for seed in range(1, settings.seeds + 1):
            path = folder / "predictions" / f"{name.replace('/', '_')} {seed}.npz"
            if not path.exists():
                start = time.monotonic()
                torch.manual_seed(seed)
                task = build(variant, fit, response)
                train(task, train_tracks.seen_by(variant), settings, seed)
                if variant.fitted:
                    whole = copy.deepcopy(network).eval()
                    whole.tasks[2] = task
                    batches = data.whole_dataloader("train"), data.whole_dataloader("val")
                    print(refine(whole, *batches, objects.model.refinement, seed))
                np.savez(path, **predict(task, test_tracks.seen_by(variant)))
                print(f"{preset}, {name}, seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
            with np.load(path) as stored:
                predictions.append({key: stored[key][chosen] for key in FEW_FIELDS})
        numbers[name] = measure(predictions, true, drawn)
    shown, stored = tables(known, numbers)
    counts = {"training tracks": len(train_tracks), "test tracks": int(chosen.sum())}
    (folder / "claims.json").write_text(
        json.dumps(vars(settings) | counts | {"variants": stored}, indent=2, default=str)
    )
    (folder / "claims.md").write_text(shown)
    return f"{preset}, {counts}\n\n{shown}"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", metavar="PRESET=CHECKPOINT", help="of muon.yaml, by preset")
    parser.add_argument("--folder", type=Path, default=Path("claims"), help="events, predictions and tables")
    parser.add_argument("--train", type=int, default=40_000, help="events on which the heads are trained")
    parser.add_argument("--val", type=int, default=2000, help="events by which the second phase is judged")
    parser.add_argument("--test", type=int, default=5000, help="test events")
    parser.add_argument("--passes", type=int, default=6, help="passes through the training tracks")
    parser.add_argument("--batch_size", type=int, default=250, help="tracks in a step")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each head, at least 2")
    parser.add_argument("--variants", nargs="+", help="only these")
    settings = parser.parse_args()
    for preset, checkpoint in (pair.split("=", 1) for pair in settings.checkpoints):
        folder = settings.folder / preset
        folder.mkdir(parents=True, exist_ok=True)
        print(run(load_checkpoint(checkpoint), preset, folder, settings), flush=True)


if __name__ == "__main__":
    main()
