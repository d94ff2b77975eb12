"""Formats of torch.export: the numbers of eager, checked inputs, and what is written beside the model."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from torch import Tensor

from hitpool import Predictor
from hitpool.config import Objects
from hitpool.export import FORMATS, DeployedModel, check_events, export, load, write_model
from hitpool.export.arrays import check_arrays
from hitpool.export.formats import format_for, format_of
from hitpool.export.metadata import metadata_of
from hitpool.export.parity import TOLERANCE, Case, compare, expected_of, largest_difference
from hitpool.files import hits_of_events, read_index


@pytest.fixture(scope="module")
def events(small_model: DeployedModel, data_set: Path) -> list[Tensor]:
    return check_events.real_events(data_set, small_model.columns)


@pytest.fixture(scope="module")
def program(small_model: DeployedModel, events: list[Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    agreement = write_model(small_model, path, "export", {"truthMuon_pt": "GeV"}, events, {"checkpoint_sha256": "abc"})
    assert max(agreement.worst.values()) <= TOLERANCE
    told = load(path)[1]["check"]
    assert (told["events"], told["exempt"], told["excused"]) == (agreement.events, agreement.exempt, agreement.excused)
    assert (told["slots"], told["empty slots"]) == (agreement.slots, agreement.empty)
    assert agreement.slots == 2 * agreement.events
    return path


@pytest.mark.parametrize(("name", "fixture"), [("export", "program"), ("aoti", "package")])
def test_a_model_in_another_format(
    small_model: DeployedModel, events: list[Tensor], request: pytest.FixtureRequest, name: str, fixture: str
) -> None:
    path = request.getfixturevalue(fixture)
    assert format_of(path) == name
    run, metadata = load(path, threads=3)
    assert (metadata["format"], metadata["checkpoint_sha256"]) == (name, "abc")
    assert metadata.get("instruction_set") == ("AVX2" if name == "aoti" else None)
    assert [column["name"] for column in metadata["inputs"][0]["columns"]] == small_model.columns
    assert metadata["thresholds"] == {"track": 0.5, "hit": 0.5, "pooled hit": [0.1]}

    with safe_open(f"{path}.check.safetensors", "pt") as stored:  # as a program finds them
        assert float(stored.metadata()["tolerance"]) == TOLERANCE
        assert float(stored.metadata()["track_threshold"]) == metadata["check"]["track threshold"]
        cases = [
            {key: stored.get_tensor(f"{number}.{key}") for key in ("hits", "valid", "exempt", *expected_names())}
            for number in range(int(stored.metadata()["cases"]))
        ]
    sizes = {tuple(case["hits"].shape[:2]) for case in cases}
    assert {(1, 1), (0, 5), (3, 0), (0, 0), (1, 600)} <= sizes
    assert any(case["hits"][~case["valid"]].isnan().all() and not case["valid"].all() for case in cases)

    def compared(number: int) -> float:
        case = cases[number % len(cases)]
        results = run(case["hits"], case["valid"])
        own = [largest_difference(got, case[name]) for name, got in zip(expected_names(), results, strict=True)]
        return max([0.0, *torch.stack(own, dim=1)[~case["exempt"]].flatten().tolist()])

    with ThreadPoolExecutor(3) as threads:
        assert max(threads.map(compared, range(3 * len(cases)))) <= TOLERANCE

    for wrong in (torch.rand(60, 20), torch.rand(2, 60, 18), torch.rand(2, 60, 20).double()):
        with pytest.raises(ValueError, match="hits: expected"):
            run(wrong, torch.ones(wrong.shape[:2], dtype=torch.bool))
    hits = events[0][None].mT.contiguous().mT  # another order in memory
    torch.testing.assert_close(
        run(hits, torch.ones(hits.shape[:2], dtype=torch.bool)),
        run(events[0][None], torch.ones(hits.shape[:2], dtype=torch.bool)),
    )
    tracks = Predictor(path)(dict(zip(small_model.columns, events[0].unbind(-1), strict=True)))
    assert tracks.parameters["truthMuon_pt"].shape == (2,)


def expected_names() -> tuple[str, str, str]:
    return "parameters", "track_probability", "hit_probability"


def test_the_fit_stays_compiled(small_model: DeployedModel) -> None:
    program = (
        FORMATS["export"].load_module().build(small_model, (torch.zeros(2, 5, 20), torch.ones(2, 5, dtype=torch.bool)))
    )
    text = str(program)
    for op in ("weighted_pool", "pseudorapidity", "attention", "toroid_fit"):
        assert f"torch.ops.hitpool.{op}.default" in text, op


@pytest.mark.parametrize(
    ("hits", "valid", "message"),
    [
        ((2, 5, 3), (2, 4), r"valid: expected shape \[2, 5\], one for each of the hits, got \[2, 4\]"),
        ((2, 5, 4), (2, 5), r"hits: expected shape \[events, hits, 3\] with the columns x, y, z, got \[2, 5, 4\]"),
        ((5, 3), (5,), r"hits: expected shape \[events, hits, 3\]"),
    ],
)
def test_arrays_are_checked(hits: tuple[int, ...], valid: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_arrays(torch.zeros(hits), torch.ones(valid, dtype=torch.bool), ["x", "y", "z"])


def test_dtypes_are_checked() -> None:
    hits, valid = torch.zeros(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)
    for wrong in (torch.float64, torch.float16, torch.int32):
        with pytest.raises(ValueError, match=f"hits: expected float32, got {str(wrong)[6:]}"):
            check_arrays(hits.to(wrong), valid, ["x", "y", "z"])
    with pytest.raises(ValueError, match="valid: expected bool, false at padded hits, got uint8"):
        check_arrays(hits, valid.byte(), ["x", "y", "z"])
    with pytest.raises(ValueError, match="hits: expected a tensor on the CPU, got meta"):
        check_arrays(hits.to("meta"), valid, ["x", "y", "z"])


def test_the_suffix_says_the_format() -> None:
    assert [format_for(Path(f"m{suffix}"), None) for suffix in (".pt", ".pt2", ".onnx")] == [
        "torchscript",
        "aoti",
        "onnx",
    ]
    assert format_for(Path("m.pt2"), "export") == "export"
    with pytest.raises(ValueError, match=r"m.pt: expected the suffix .onnx of format onnx, got '.pt'"):
        format_for(Path("m.pt"), "onnx")
    with pytest.raises(ValueError, match=r"m\.h5: expected the suffix one of .pt2 \(aoti or export\), .onnx"):
        format_for(Path("m.h5"), None)


def test_a_checkpoint_without_its_events(objects: Objects, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    module, config = copy.deepcopy(objects.model), copy.deepcopy(objects.config)
    for task in module.model.tasks:
        task.fit_standardization(objects.datamodule.train_targets())
    config["data"] |= {f"{part}_dir": "elsewhere" for part in ("train", "val", "test")}
    (tmp_path / "run/ckpts").mkdir(parents=True)
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(config))
    torch.save({"state_dict": module.state_dict()}, tmp_path / "run/ckpts/best.ckpt")
    for suffix in (".pt2", ".onnx"):
        with pytest.raises(FileNotFoundError, match=r"random hits have no stable fit: name a data set, .* by --events"):
            export(tmp_path / "run/ckpts/best.ckpt", tmp_path / f"model{suffix}")
    export(tmp_path / "run/ckpts/best.ckpt", tmp_path / "model.pt")
    assert "the exported model is checked with random hits; --events names" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"model.pt is an exported model \(torchscript\); expected a checkpoint"):
        export(tmp_path / "model.pt", tmp_path / "again.pt")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "some.ckpt")
    with pytest.raises(ValueError, match=r"some.ckpt is no exported model; expected what `hitpool export` writes"):
        load(tmp_path / "some.ckpt")


def case(exempt: bool) -> Case:
    expected = torch.zeros(2, 1, 1), torch.zeros(2, 1), torch.zeros(2, 1, 3)
    return Case(torch.zeros(2, 3, 1), torch.ones(2, 3, dtype=torch.bool), expected, torch.tensor([exempt, False]))


def shifted(by: float, event: int):
    def run(hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parameters = torch.zeros(2, 1, 1)
        parameters[event] = by
        return parameters, torch.zeros(2, 1), torch.zeros(2, 1, 3)

    return run


def test_a_difference_is_an_error_unless_rounding_explains_it() -> None:
    cases = [case(exempt=True)] * 6
    assert compare(shifted(5e-4, 1), cases, "onnx").worst["parameters"] == pytest.approx(5e-4)
    agreement = compare(lambda hits, valid: shifted(5e-4, 0)(hits, valid), cases, "onnx")
    assert (agreement.events, agreement.excused) == (12, 0)
    with pytest.raises(
        RuntimeError, match="onnx export: the exported model differs by 1 in parameters, for hits of shape"
    ):
        compare(shifted(1.0, 1), cases, "onnx")
    with pytest.raises(RuntimeError, match="differs by nan"):
        compare(shifted(torch.nan, 1), cases, "onnx")
    with pytest.raises(RuntimeError, match="differs in 6 of the 12 events of the check by more"):
        compare(shifted(1.0, 0), cases, "onnx")
    turns = iter([1.0, 0, 0, 0, 0, 0])
    assert compare(lambda hits, valid: shifted(next(turns), 0)(hits, valid), cases, "onnx").excused == 1


def test_probabilities_at_a_threshold_are_known(small_model: DeployedModel, events: list[Tensor]) -> None:
    hits = events[0][None]
    valid = torch.ones(hits.shape[:2], dtype=torch.bool)
    (before,) = expected_of(small_model, [(hits, valid)])
    threshold = float(before.expected[2][0, 0, 0])
    (task,) = small_model.pooling
    task.assignment_threshold, kept = threshold, task.assignment_threshold
    try:
        (after,) = expected_of(small_model, [(hits, valid)])
    finally:
        task.assignment_threshold = kept
    assert (before.exempt.tolist(), after.exempt.tolist()) == ([False], [True])


def test_hits_of_events_are_those_on_disk(data_set: Path) -> None:
    index = read_index(data_set)
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(1)).numpy()
    columns = index.hit_columns[3:6]
    found = list(hits_of_events(index, order, columns))
    whole = list(hits_of_events(index, np.arange(len(index)), index.hit_columns))
    for number, own in zip(order, found, strict=True):
        torch.testing.assert_close(torch.from_numpy(own), torch.from_numpy(whole[number][:, 3:6]))
    with pytest.raises(KeyError, match="has no column 'none'; available columns: spacePoint_"):
        list(hits_of_events(index, order, ["none"]))


def test_metadata_are_plain_json(small_model: DeployedModel) -> None:
    assert json.loads(json.dumps(metadata_of(small_model, "aoti", {}, {})))["outputs"][0]["fields"][0]["name"]
