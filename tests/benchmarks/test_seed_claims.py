"""A small form of seed_claims.py, on a model with random weights."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import seed_claims
import torch
import yaml

from hitpool.config import Objects, load, load_checkpoint
from hitpool.simulation import simulate

VARIANTS = ["query, plain targets", "pooled: no eta, plain pT", "+ head of muon.yaml", "+ fit", "bfloat16 fields"]
SETTINGS = argparse.Namespace(train=40, val=10, test=40, passes=1, batch_size=20, seeds=2, variants=VARIANTS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    simulate(folder / "events", 40, processes=1)
    overrides = {f"data.{split}_dir": str(folder / "events") for split in seed_claims.SPLITS}
    objects = load("muon.yaml", overrides | {"runs": str(folder / "runs"), "model.refinement.epochs": 1})
    objects.model.model.tasks[2].fit_standardization(objects.datamodule.train_targets())
    (folder / "config.yaml").write_text(yaml.safe_dump(objects.config))
    (folder / "ckpts").mkdir()
    torch.save({"state_dict": objects.model.state_dict()}, folder / "ckpts/best.ckpt")
    return folder / "ckpts/best.ckpt"


@pytest.fixture(scope="module")
def objects(checkpoint: Path) -> Objects:
    return load_checkpoint(checkpoint)


def test_kept_tracks_give_the_predictions_of_the_whole_model(objects: Objects):
    network, task = objects.model.model, objects.model.model.tasks[2]
    batches = list(objects.datamodule.whole_dataloader("test"))
    tracks = seed_claims.describe(network, batches, task.hit_fields)
    found = seed_claims.predict(task, tracks)
    with torch.no_grad():
        outputs = network.match(network(batches[0][0]), batches[0][1])
        whole = network.predict(outputs)["final"][task.name]
    particle = batches[0][1]["particle_valid"]
    for name in seed_claims.FEW_FIELDS:
        expected = whole[f"track_{name}"][particle]
        torch.testing.assert_close(torch.from_numpy(found[name][: len(expected)]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["raw only", "encoded only", "mean and sum only", "extrema only"])
def test_a_head_sees_its_part_of_the_pooled_features_only(objects: Objects, name: str):
    default = dict(objects.config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"][2]["init_args"])
    del default["track_fit"], default["response"], default["hit_response"]
    variant = seed_claims.variants(default)[name]
    head = seed_claims.build(variant, {}, {}).regression_head
    features = torch.randn(1, 160, requires_grad=True)
    head(features).sum().backward()
    seen = features.grad[0, 32:].reshape(2, 4, 16).abs().sum(-1) > 0  # raw and encoded; mean, sum, max, min
    pools = [pool in variant.pools for pool in seed_claims.POOLS]
    expected = [[source in variant.sources and pool for pool in pools] for source in ("raw", "encoded")]
    assert seen.tolist() == expected
    assert features.grad[0, :32].abs().min() > 0


def test_tables_and_no_second_training(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    shown = seed_claims.run(load_checkpoint(checkpoint), "full", tmp_path, SETTINGS)
    assert capsys.readouterr().out.count(", seed ") == 2 * len(VARIANTS)
    assert list(json.loads((tmp_path / "claims.json").read_text())["variants"]) == VARIANTS
    assert all(f"\n| {name} | " in shown for name in VARIANTS)
    assert seed_claims.run(load_checkpoint(checkpoint), "full", tmp_path, SETTINGS) == shown
    assert ", seed " not in capsys.readouterr().out
    other = argparse.Namespace(**vars(SETTINGS) | {"passes": 2})
    with pytest.raises(ValueError, match=r"settings.json: expected .*'passes': 1.* got .*'passes': 2"):
        seed_claims.run(load_checkpoint(checkpoint), "full", tmp_path, other)


def test_ratio_has_the_error_of_seeds_and_of_test_events():
    one, two = np.full((3, 101), 2.0), np.full((3, 101), 1.0)
    assert seed_claims.ratio(one, two) == (2.0, 0.0)
    one[:, 0] = 1.9, 2.0, 2.1
    assert seed_claims.ratio(one, two) == pytest.approx((2.0, 0.1 / 3**0.5))
    one[:, 1:] += np.linspace(-1, 1, 100)
    assert seed_claims.ratio(one, two)[1] > 0.5
    assert seed_claims.ratio(one, one) == (1.0, 0.0)  # what both have in common does not count
