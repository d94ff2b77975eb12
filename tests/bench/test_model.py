"""The numbers of `hitpool bench --model` on a tiny sample: what is there, and that shares and ratios are consistent."""

import json
from pathlib import Path

import pytest
import torch

from hitpool.bench.model import ORIGINAL, Speed, bench_model, model_inputs, predict, read_hits
from hitpool.bench.shares import labelled, step_shares
from hitpool.bench.training_step import TrainingStep, compare_pools, pooling_by, prepare
from hitpool.config import Objects
from hitpool.ops import reference
from hitpool.simulation import simulate

PARTS = {"loading", "input net", "encoder", "decoder layers", "mask task", "validity task", "regression task"}
PARTS |= {"pooling", "matching", "mask loss", "regression loss", "optimiser"}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    events = tmp_path_factory.mktemp("bench") / "events"
    simulate(events, 60, seed=5, processes=1)
    return prepare("muon.yaml", events, batch_size=12)


def test_shares_add_up_to_one(objects: Objects) -> None:
    shares = step_shares(TrainingStep(objects), objects.datamodule.train_dataloader())
    assert shares.keys() >= PARTS
    assert sum(map(sum, shares.values())) == pytest.approx(1)
    assert min(min(pair) for pair in shares.values()) >= 0
    for part in ("input net", "encoder", "decoder layers", "regression task", "pooling", "mask loss"):
        assert min(shares[part]) > 0, part
    for part in ("loading", "optimiser"):
        assert shares[part][1] == 0, part


def test_labels_change_nothing(objects: Objects) -> None:
    network, (inputs, _) = objects.model.model.eval(), objects.datamodule.dataset("train")[0]
    before = predict(network, inputs)["final"]["parameter_regression"]
    with labelled(network):
        during = predict(network, inputs)["final"]["parameter_regression"]
    assert all(torch.equal(before[name], during[name]) for name in before)
    assert "forward" not in vars(network.encoder)


def test_the_pool_function_is_swapped_and_comes_back(objects: Objects) -> None:
    network, (inputs, _) = objects.model.model.eval(), objects.datamodule.dataset("train")[1]
    calls = []

    def counted(*arguments: torch.Tensor) -> torch.Tensor:
        calls.append(arguments)
        return reference.weighted_pool(*arguments)

    before = predict(network, inputs)["final"]["parameter_regression"]
    with pooling_by(counted):
        during = predict(network, inputs)["final"]["parameter_regression"]
    assert len(calls) == 1
    predict(network, inputs)
    assert len(calls) == 1
    for name in before:
        torch.testing.assert_close(before[name], during[name], atol=1e-4, rtol=1e-4)


def test_both_pools_are_measured(objects: Objects) -> None:
    speeds = compare_pools(objects, repeat=1)
    assert speeds.keys() == {"weighted_pool", "expand"}
    assert min(speeds.values()) > 0


@pytest.mark.parametrize("number", [1, 60, 600])
def test_an_event_of_any_size(objects: Objects, number: int) -> None:
    dataset = objects.datamodule.dataset("train")
    hits = read_hits(dataset, number)
    assert hits.shape == (number, len(dataset.index.hit_columns))
    assert hits.isfinite().all()
    inputs = model_inputs(dataset, hits.unsqueeze(0))
    index = int((dataset.num_hits == dataset.num_hits.max()).argmax())
    assert inputs.keys() == dataset[index][0].keys()
    assert all(value.shape == (1, number) for value in inputs.values())


def test_inputs_equal_those_of_the_data_set(objects: Objects) -> None:
    dataset = objects.datamodule.dataset("train")
    number = int(dataset.num_hits[7])
    event = int((dataset.num_hits == number).argmax())
    ours, theirs = model_inputs(dataset, read_hits(dataset, number).unsqueeze(0)), dataset[event][0]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_ratios() -> None:
    assert Speed("training", 1, 2 * ORIGINAL["training", 1]).ratio == 2
    assert Speed("latency of 60 hits, exported", 1, ORIGINAL["latency of 60 hits", 1] / 4).ratio == 4
    assert Speed("loading", 7, 1.0).ratio is None


def test_the_table_and_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    file = tmp_path / "model.json"
    result = bench_model([1], json=file, events=700, repeat=1)
    assert torch.get_num_threads() == threads
    assert json.loads(file.read_text()).keys() == result.keys() == {"machine", "speeds", "shares", "pools"}
    assert {speed["quantity"] for speed in result["speeds"]} == {
        *("training", "inference", "loading"),
        *(f"latency of {hits} hits{form}" for hits in (60, 600) for form in ("", ", exported")),
    }
    assert all(speed["value"] > 0 and speed["ratio"] > 0 for speed in result["speeds"])
    assert result["shares"].keys() == result["pools"].keys() == {1}
    printed = capsys.readouterr().out
    for text in ("training", "encoder", "expand", result["machine"]["processor"]):
        assert text in printed
