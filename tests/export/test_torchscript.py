import copy
import json
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import pytest
import torch
import yaml
from torch import Tensor, nn

import hitpool
from hitpool.config import Objects, load_checkpoint
from hitpool.config import load as load_configuration
from hitpool.export import DeployedModel, export, write_model
from hitpool.export.deployed import needed_columns
from hitpool.nn import MaskFormer

IN_ANOTHER_PROCESS = """
import sys
import torch

library, model, inputs, outputs = sys.argv[1:]
torch.ops.load_library(library)
hits, valid = torch.load(inputs)
torch.save(torch.jit.load(model)(hits, valid), outputs)
assert "hitpool" not in sys.modules
"""


def columns_of(data_set: Path) -> list[str]:
    return yaml.safe_load((data_set / "metadata.yaml").read_text())["hit_features"]


def deployed(network: MaskFormer, objects: Objects, columns: list[str]) -> DeployedModel:
    data = objects.datamodule
    return DeployedModel(network, data.inputs["hit"], data.scale_factors, data.points, columns).eval()


@pytest.fixture(scope="module")
def exported(network: MaskFormer, objects: Objects, data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = objects.datamodule
    path = tmp_path_factory.mktemp("export") / "new" / "model.pt"
    write_model(DeployedModel(network, data.inputs["hit"], data.scale_factors, data.points, columns_of(data_set)), path)
    return path


@pytest.fixture(scope="module")
def eager(network: MaskFormer, objects: Objects, data_set: Path) -> DeployedModel:
    return deployed(network, objects, columns_of(data_set))


def load(path: Path) -> tuple[torch.jit.ScriptModule, dict]:
    extra = {"hitpool.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(path), _extra_files=extra)
    return module, json.loads(extra["hitpool.json"])


def saved(model: DeployedModel, folder: Path) -> tuple[torch.jit.ScriptModule, dict]:
    write_model(model, folder / "model.pt")
    return load(folder / "model.pt")


def on_disk(data_set: Path, columns: list[str]) -> tuple[Tensor, Tensor]:
    """Hits of all events as they lie in the file, padded with NaN, and their validity."""
    metadata = yaml.safe_load((data_set / "metadata.yaml").read_text())
    chosen = [metadata["hit_features"].index(column) for column in columns]
    with h5py.File(data_set / metadata["event_mapping"]["chunk_summary"][0]["h5_file"]) as file:
        hits = torch.from_numpy(file["hits"][:])[..., chosen]
        count = torch.from_numpy(file["num_hits"][:].astype("int64"))
    return hits, torch.arange(hits.shape[1]) < count[:, None]


def random_hits(data_set: Path, columns: list[str], events: int, hits: int) -> tuple[Tensor, Tensor]:
    """Events made of hits of the data set, with NaN in padded hits at any place."""
    generator = torch.Generator().manual_seed(events)
    values, valid = on_disk(data_set, columns)
    pool = values[valid]
    values = pool[torch.randint(len(pool), (events, hits), generator=generator)]
    valid = torch.rand(events, hits, generator=generator) < 0.7
    return torch.where(valid.unsqueeze(-1), values, torch.nan), valid


def assert_equal(got: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for a, b in zip(got, expected, strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_the_ops_are_inside(exported: Path) -> None:
    graph = str(load(exported)[0].inlined_graph)
    assert graph.count("hitpool::weighted_pool(") == 1
    assert "hitpool::pseudorapidity(" in graph


@pytest.mark.parametrize(("events", "hits"), [(1, 1), (1, 30), (2, 12), (7, 3), (4, 150), (3, 0), (0, 5)])
def test_any_size_gives_the_same_as_eager(
    exported: Path, eager: DeployedModel, data_set: Path, events: int, hits: int
) -> None:
    inputs = random_hits(data_set, eager.columns, events, hits)
    module, _ = load(exported)
    with torch.no_grad():
        expected = eager(*inputs)
        for _ in range(3):  # later calls run the optimised graph
            assert_equal(module(*inputs), expected)
    assert [list(out.shape) for out in expected] == [[events, 2, 5], [events, 2], [events, 2, hits]]


def test_the_input_is_what_is_on_disk(exported: Path, network: MaskFormer, objects: Objects, data_set: Path) -> None:
    module, metadata = load(exported)
    assert [column["name"] for column in metadata["inputs"][0]["columns"]] == columns_of(data_set) == module.columns
    parameters, track, hit = module(*on_disk(data_set, columns_of(data_set)))
    inputs, _ = objects.datamodule.dataset("test")[list(range(40))]
    with torch.no_grad():
        preds = network.eval().predict(network(inputs))["final"]
    hit_valid = inputs["hit_valid"]
    torch.testing.assert_close(track, preds["track_valid"]["track_valid_prob"], rtol=1e-5, atol=1e-5)
    expected = preds["track_hit_valid"]["track_hit_valid_prob"]
    mask = hit_valid.unsqueeze(1).expand_as(expected)
    torch.testing.assert_close(hit[..., : expected.shape[-1]][mask], expected[mask], rtol=1e-5, atol=1e-5)
    for k, field in enumerate(metadata["outputs"][0]["fields"]):
        expected = preds["parameter_regression"][f"track_{field['name']}"]
        torch.testing.assert_close(parameters[..., k], expected, rtol=1e-5, atol=1e-5)
    assert (parameters[..., :3].std(dim=(0, 1)) > 0).all()  # no constants


def test_columns_that_are_not_used_have_no_influence(exported: Path, data_set: Path) -> None:
    module, metadata = load(exported)
    columns = metadata["inputs"][0]["columns"]
    unused = [i for i, column in enumerate(columns) if not column["used"]]
    names = {columns[i]["name"].removeprefix("spacePoint_") for i in unused}
    assert names == {"stationPhi", "readOutSide", "truthLink"}
    hits, valid = random_hits(data_set, columns_of(data_set), 4, 30)
    expected = module(hits, valid)
    hits[..., unused] = torch.nan
    assert_equal(module(hits, valid), expected)


def wrong_arrays(kind: str) -> tuple[Tensor, Tensor]:
    hits, valid = torch.rand(2, 5, 20), torch.ones(2, 5, dtype=torch.bool)
    return {
        "18 columns": (hits[..., :18], valid),
        "21 columns": (torch.rand(2, 5, 21), valid),
        "one event without its dimension": (hits[0], valid[0]),
        "float64": (hits.double(), valid),
        "float16": (hits.half(), valid),
        "counts": (hits.long(), valid),
        "other hits": (hits, valid[:, :4]),
        "one event": (hits, valid[:1]),
        "all hits in a row": (hits, valid.flatten()),
        "numbers": (hits, valid.float()),
        "bytes": (hits, valid.byte()),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("18 columns", r"hits: expected shape \[events, hits, 20\] with the columns {columns}, got \[2, 5, 18\]"),
        ("21 columns", r"hits: expected shape \[events, hits, 20\] with the columns {columns}, got \[2, 5, 21\]"),
        ("one event without its dimension", r"hits: expected shape \[events, hits, 20\] with .*, got \[5, 20\]"),
        ("float64", "hits: expected float32, got float64"),
        ("float16", "hits: expected float32, got float16"),
        ("counts", "hits: expected float32, got integers"),
        ("other hits", r"valid: expected shape \[2, 5\], one for each of the hits, got \[2, 4\]"),
        ("one event", r"valid: expected shape \[2, 5\], one for each of the hits, got \[1, 5\]"),
        ("all hits in a row", r"valid: expected shape \[2, 5\], one for each of the hits, got \[10\]"),
        ("numbers", "valid: expected bool, false at padded hits, got float32"),
        ("bytes", "valid: expected bool, false at padded hits, got uint8"),
    ],
)
def test_a_wrong_array_is_refused_by_name(exported: Path, data_set: Path, kind: str, message: str) -> None:
    module, _ = load(exported)
    with pytest.raises(torch.jit.Error, match=message.replace("{columns}", ", ".join(columns_of(data_set)))):
        module(*wrong_arrays(kind))


def test_padding_has_no_influence(exported: Path, eager: DeployedModel, data_set: Path) -> None:
    module, _ = load(exported)
    hits, valid = random_hits(data_set, eager.columns, 5, 40)
    parameters, track, hit = module(hits, valid)
    filled = torch.where(valid.unsqueeze(-1), hits, 1e30)
    longer = torch.cat([filled, torch.full((5, 9, hits.shape[-1]), torch.inf)], dim=1)
    more = module(longer, torch.cat([valid, torch.zeros(5, 9, dtype=torch.bool)], dim=1))
    assert_equal(more, (parameters, track, torch.cat([hit, torch.zeros(5, 2, 9)], dim=-1)))


def test_an_event_without_hits_leaves_the_others_alone(exported: Path, eager: DeployedModel, data_set: Path) -> None:
    module, _ = load(exported)
    hits, valid = random_hits(data_set, eager.columns, 3, 20)
    expected = module(hits[1:], valid[1:])
    valid[0] = False
    got = module(hits, valid)
    assert_equal(tuple(out[1:] for out in got), expected)
    assert all(out.isfinite().all() for out in got)


def test_no_gradients_are_recorded(exported: Path, data_set: Path) -> None:
    module, metadata = load(exported)
    columns = [column["name"] for column in metadata["inputs"][0]["columns"]]
    assert not any(output.requires_grad for output in module(*on_disk(data_set, columns)))


def test_names_and_units_are_in_the_file(exported: Path, eager: DeployedModel) -> None:
    _, metadata = load(exported)
    assert metadata["hitpool_version"] == hitpool.__version__
    columns = metadata["inputs"][0]["columns"]
    assert [column["name"] for column in columns] == eager.columns
    assert {"name": "spacePoint_globEdgeLowX", "unit": "mm", "used": True} in columns
    fields = metadata["outputs"][0]["fields"]
    assert {"name": "truthMuon_pt", "unit": "GeV"} in fields
    assert [field["name"] for field in fields] == eager.parameters_out
    assert [output["name"] for output in metadata["outputs"]] == [
        "parameters",
        "track_probability",
        "hit_probability",
    ]


def test_runs_where_hitpool_was_never_imported(
    exported: Path, eager: DeployedModel, data_set: Path, tmp_path: Path
) -> None:
    inputs = random_hits(data_set, eager.columns, 3, 25)
    torch.save(inputs, tmp_path / "inputs.pt")
    script = tmp_path / "infer.py"
    script.write_text(IN_ANOTHER_PROCESS)
    paths = [hitpool.library_path(), exported, tmp_path / "inputs.pt", tmp_path / "outputs.pt"]
    subprocess.run([sys.executable, script, *paths], check=True, cwd=tmp_path)
    with torch.no_grad():
        assert_equal(torch.load(tmp_path / "outputs.pt"), eager(*inputs))


def test_the_network_is_left_as_it_is(network: MaskFormer, objects: Objects, tmp_path: Path) -> None:
    network.train()
    before = copy.deepcopy(network.state_dict())
    saved(DeployedModel(network, objects.datamodule.inputs["hit"]), tmp_path)
    assert network.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


class Noise(nn.Module):
    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class Frozen(nn.Module):
    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        return x * float(x.mean())


@pytest.mark.parametrize(
    ("encoder", "message"),
    [(Noise(), "torchscript export: the exported model differs in"), (Frozen(), "cannot be recorded")],
)
def test_a_model_that_cannot_be_exported_is_refused(
    network: MaskFormer, objects: Objects, tmp_path: Path, encoder: nn.Module, message: str
) -> None:
    bad = copy.deepcopy(network)
    bad.encoder = encoder
    with pytest.raises(RuntimeError, match=message):
        saved(DeployedModel(bad, objects.datamodule.inputs["hit"]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_track_without_hits_has_the_errors_of_an_unknown_one(
    network: MaskFormer, objects: Objects, data_set: Path, tmp_path: Path
) -> None:
    trained = copy.deepcopy(network)
    task = next(task for task in trained.tasks if task.name == "parameter_regression")
    task.response.declare(trained=True)
    columns, data = columns_of(data_set), objects.datamodule
    model = DeployedModel(trained, data.inputs["hit"], data.scale_factors, data.points, columns)
    module, _ = saved(model, tmp_path)
    hits, valid = random_hits(data_set, columns, 6, 40)
    valid[:3] = False
    with torch.no_grad():
        eager = deployed(trained, objects, columns)
        expected = eager(hits, valid)
    found = module(hits, valid)
    assert_equal(found, expected)
    for quantity in ("eta", "phi", "qpt"):
        error = found[0][..., eager.parameters_out.index(f"truthMuon_{quantity}_error")]
        spread = task.space.spread[task.fields.index(f"truthMuon_{quantity}")]
        assert (error[:3] >= spread).all()
        assert (error[3:] < spread).any()


def test_export_of_a_checkpoint(
    objects: Objects, data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    objects.trainer.fit(objects.model, objects.datamodule)
    capsys.readouterr()
    checkpoint = Path(objects.trainer.default_root_dir) / "ckpts" / "best.ckpt"
    output = tmp_path / "model.pt"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*torch.jit.*")
        export(checkpoint, output)
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "model.pt.check.safetensors"}
    module, metadata = load(output)
    assert [column["name"] for column in metadata["inputs"][0]["columns"]] == columns_of(data_set)
    trained = load_checkpoint(checkpoint)
    expected = deployed(trained.model.model, trained, columns_of(data_set))
    inputs = on_disk(data_set, expected.columns)
    with torch.no_grad():
        assert_equal(module(*inputs), expected(*inputs))

    assert "the response of its track fit is not trained; the parameters are those of" in capsys.readouterr().err
    old = torch.load(checkpoint)  # as it was before the columns were kept
    del old["HitDataModule"]
    torch.save(old, checkpoint.with_name("old.ckpt"))
    capsys.readouterr()
    export(checkpoint.with_name("old.ckpt"), output)
    said = capsys.readouterr().err
    assert "old.ckpt does not say which columns its data set has: the exported model takes the 17 that it uses" in said
    needed = needed_columns(trained.datamodule.inputs["hit"])
    assert said.strip().endswith(", ".join(needed))
    with torch.no_grad():
        assert_equal(load(output)[0](*on_disk(data_set, needed)), expected(*inputs))


def test_float64_stays_inside(network: MaskFormer, objects: Objects, data_set: Path, tmp_path: Path) -> None:
    exact = copy.deepcopy(network).double()
    columns, data = columns_of(data_set), objects.datamodule
    model = DeployedModel(exact, data.inputs["hit"], data.scale_factors, data.points, columns)
    module, metadata = saved(model, tmp_path)
    hits, valid = random_hits(data_set, columns, 5, 40)
    found = module(hits, valid)
    with torch.no_grad():
        expected = deployed(exact, objects, columns)(hits, valid)
        rounded = deployed(network, objects, columns)(hits, valid)
    assert {result.dtype for result in found} == {torch.float32}
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)
    assert not found[0].equal(rounded[0])
    assert metadata["computes_in"] == "float64"


def test_columns_of_other_detectors_keep_their_order(tmp_path: Path) -> None:
    options = {"trainer.accelerator": "cpu", "model.model.tasks.2.standardize": False}
    objects = load_configuration("acts.yaml", options)
    network, data = objects.model.model.eval(), objects.datamodule
    axes = [f"loc{i}_{axis}" for i in range(2) for axis in "zyx"]
    columns = ["truthLink", "z", "y", "x", *axes, "var_loc1", "var_loc0", "module", "layer", "volume"]
    settings = network, data.inputs["hit"], data.scale_factors, data.points
    module, metadata = saved(DeployedModel(*settings, columns), tmp_path)
    assert [column["name"] for column in metadata["inputs"][0]["columns"]] == columns
    scale = torch.tensor([data.scale_factors.get(name, 1.0) for name in columns])
    hits, valid = torch.rand(2, 9, len(columns)) / scale, torch.ones(2, 9, dtype=torch.bool)
    needed = needed_columns(data.inputs["hit"], data.points)
    before, _ = saved(DeployedModel(*settings), tmp_path)
    assert_equal(module(hits, valid), before(hits[..., [columns.index(name) for name in needed]], valid))


def test_a_column_that_is_not_there_is_named(network: MaskFormer, objects: Objects, data_set: Path) -> None:
    columns = [name for name in columns_of(data_set) if name != "spacePoint_driftR"]
    with pytest.raises(ValueError, match="unknown hit field 'spacePoint_driftR'; available columns: spacePoint_globE"):
        DeployedModel(network, objects.datamodule.inputs["hit"], columns=columns)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.ckpt"):
        export(tmp_path / "ckpts" / "nothing.ckpt", tmp_path / "model.pt")
