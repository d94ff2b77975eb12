"""What is said of a configuration of hepattn that hitpool cannot do: one line, with the path in that file."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from hitpool.cli import main
from hitpool.config import load
from hitpool.configuration.files import load_yaml

from .translations import module

DATA = Path(__file__).parents[1] / "cli" / "data"
FORK, UPSTREAM = (load_yaml((DATA / f"hepattn_{name}.yaml").read_text()) for name in ("fork", "upstream"))
NETWORK = "model.model.init_args"
NET = f"{NETWORK}.input_nets.init_args.modules.0.init_args"
TASKS = f"{NETWORK}.tasks.init_args.modules"
INPUT_NET = {"input_name": "calo", "fields": ["e"], "net": module("Dense", input_size=1)}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A configuration in which the entry at each path has another value, or, behind `->`, another name."""
    config = copy.deepcopy(config)
    for path, value in changes.items():
        place, _, name = path.partition(" -> ")
        *parents, last = place.split(".")
        node: Any = config
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        if name:
            node[name] = node.pop(last)
        elif isinstance(node, list):
            node[int(last) : int(last) + 1] = [value]
        else:
            node[last] = value
    return config


def refusal(content: Any, capsys: pytest.CaptureFixture) -> str:
    """What `hitpool fit` writes in all, without what every line begins with."""
    Path("mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config=mine.yaml", *(f"--data.{part}_dir=x" for part in ("train", "val")), "--print_config"])
    captured = capsys.readouterr()
    line = captured.err if isinstance(stop.value.code, int) else f"{stop.value.code}{captured.err}"
    assert not captured.out, "accepted"
    assert line.startswith("hitpool fit: mine.yaml: ")
    assert line.strip().count("\n") == 0
    return line.removeprefix("hitpool fit: mine.yaml: ").strip()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # values of which hitpool has one
        ({f"{NETWORK}.pooling": module("Pooling")}, "model.model.pooling is hepattn.models.Pooling, but hitpool pools"),
        ({f"{NETWORK}.encoder_tasks": [module("A")]}, "only those of model.model.tasks: remove it"),
        ({f"{NETWORK}.decoder.posenc": {"analytic": True}}, "in the input network, not in the decoder: remove it"),
        ({f"{NETWORK}.decoder.dynamic_queries": True}, "hepattn by a task of its encoder: set it to false"),
        (
            {f"{TASKS}.1.init_args.object_net": module("Dense")},
            "model.model.tasks.1.object_net is hepattn.models.Dense",
        ),
        ({"model.mtl": True}, "model.mtl is true, but hitpool adds the losses"),
        # names
        ({f"{NETWORK}.embed_dim": 64}, "model.model.embed_dim is 64 and model.model.dim is 32: set it in one place"),
        (
            {f"{NET}.net.init_args.input_size -> input_sise": None},
            "model.model.input_nets.0.net: Dense has no option 'input_sise' (did you mean 'input_size'?)",
        ),
        (
            {f"{NET}.posenc.init_args.fields -> field": None},
            "model.model.input_nets.0.posenc: PositionEncoder has no option 'field' (did you mean 'fields'?)",
        ),
        (
            {f"{NETWORK}.encoder.init_args.attn_kwargs.num_heads -> num_head": None},
            "model.model.encoder.attn_kwargs does not accept 'num_head' (did you mean 'num_heads'?); hitpool has",
        ),
        (
            {f"{NETWORK}.encoder.init_args.layer_kwargs": {"nom": "RMSNorm"}},
            "model.model.encoder.layer_kwargs: Encoder has no option 'nom' (did you mean 'norm'?)",
        ),
        (
            {f"{NETWORK}.decoder.decoder_layer_config.norm -> nrm": None},
            "model.model.decoder.decoder_layer_config: MaskFormerDecoder has no option 'nrm' (did you mean 'norm'?)",
        ),
        (
            {f"{TASKS}.2.init_args.loss_weight -> los_weight": None},
            "model.model.tasks.2: ObjectRegressionTask has no option 'los_weight' (did you mean 'loss_weight'?)",
        ),
        (
            {"trainer.callbacks.6.init_args.patience -> patienc": None},
            "trainer.callbacks.6: EarlyStopping has no option 'patienc' (did you mean 'patience'?)",
        ),
        ({"trainer.callbacks.4.init_args.writes": 1}, "trainer.callbacks.4: PredictionWriter has no option 'writes'"),
        ({"trainer.callbacks.5": "text"}, "trainer.callbacks.5: expected the class of a Callback, got text"),
        ({"data.num_workers -> num_worker": None}, "option 'data.num_worker' (did you mean 'num_workers'?); it has"),
        # forms
        ({f"{TASKS}.1.init_args": "x"}, "model.model.tasks.1.init_args: expected a mapping, got 'x'"),
        ({f"{TASKS}.0.init_args.losses.object_bce": "one"}, "tasks.0.losses.object_bce: expected float, got one"),
        ({f"{TASKS}.1.class_path": None}, "model.model.tasks.1.class_path: expected the path of a class, got null"),
        ({"data.event_max_num_particles": "x"}, "data.event_max_num_particles: expected int, got x"),
        ({"data": "text"}, "data: expected a mapping, got 'text'"),
        ({f"{NET}.net -> nett": None}, "model.model.input_nets.0: InputNet has no option 'nett' (did you mean 'net'?)"),
        ({f"{TASKS}.1.init_args.input_constituent": None}, "model.model.tasks.1: task track_hit_valid: set either"),
        # several detectors
        (
            {"data.inputs": {"pix": ["x"], "strip": ["x"]}},
            "data.inputs has pix and strip: hitpool has one kind of hits",
        ),
        ({"data.targets": {"particle": ["pt"], "jet": ["pt"]}}, "data.targets has particle and jet: hitpool has one"),
        (
            {f"{NETWORK}.input_nets": [module("InputNet", **INPUT_NET)] * 2},
            "model.model.input_nets has 2 networks (calo, calo): hitpool has one kind of hits",
        ),
        # lists of tasks
        (
            {f"{NETWORK}.tasks": []},
            "model.model.tasks: expected a list of tasks, each of class_path and init_args, got",
        ),
        ({f"{NETWORK}.tasks": "hepattn.models.task.A"}, "model.model.tasks: expected a list of tasks"),
        ({f"{NETWORK}.tasks": [{"init_args": {}}]}, "model.model.tasks.0: class_path is missing, got init_args"),
        ({f"{TASKS}.1": "a.Task"}, "model.model.tasks.1: expected class_path and init_args, got 'a.Task'"),
        ({f"{NETWORK}.tasks -> task": None}, "model.model: MaskFormer has no option 'task' (did you mean 'tasks'?)"),
        (
            {f"{NETWORK}.tasks": None, f"{NETWORK}.decoder.tasks": [module("ObjectValidTask", losss=1)]},
            "model.model.decoder.tasks.0: ObjectValidTask has no option 'losss' (did you mean 'losses'?)",
        ),
        ({"tasks": []}, "tasks: expected at model.model.init_args.tasks, or in a file that holds tasks alone"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_path(
    changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert message in refusal(changed(UPSTREAM, changes), capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": {"inputs": {"hit": ["r"]}}}, "there is no model.model, only data: name the configuration"),
        (
            {"model": {"modelx": FORK["model"]["model"]}},
            "there is no option 'model.modelx' (did you mean 'model.model'?)",
        ),
        (
            FORK | {"model": {"model": None}},
            "there is no model.model, only seed_everything, name, data, trainer, model",
        ),
        ({"model": FORK["model"]["model"]}, "hepattn.models.MaskFormer is the network: expected at model.model"),
        ([module("FooTask")], "tasks.0.class_path: hitpool has no equal of hepattn.models.FooTask; it knows"),
        ([module("ObjectValidTask"), "a.Task"], "tasks.1: expected class_path and init_args, got 'a.Task'"),
        ({"tasks": None}, "tasks: expected a list of tasks, each of class_path and init_args, got null"),
        ([], "tasks: expected a list of tasks, each of class_path and init_args, got []"),
        (module("Compile", "callbacks"), "expected tasks, or the sections data, trainer and model, got hepattn.callb"),
        (
            [module("ObjectValidTask", name="track_valid"), module("ObjectValidTask", name="b", losss=1)],
            "tasks.1: ObjectValidTask has no option 'losss' (did you mean 'losses'?)",
        ),
    ],
)
def test_files_that_are_no_configuration(content: Any, message: str, capsys: pytest.CaptureFixture) -> None:
    assert message in refusal(content, capsys)


def test_places_of_callbacks_are_those_of_the_file(capsys: pytest.CaptureFixture) -> None:
    line = refusal(changed(FORK, {"trainer.callbacks.4.init_args.writes": 1}), capsys)
    assert line.startswith("trainer.callbacks.4: PredictionWriter has no option 'writes'")


def test_what_is_missing_is_named_with_the_index_of_its_task() -> None:
    config = copy.deepcopy(UPSTREAM)
    del config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"][1]["init_args"]["name"]
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"^mine\.yaml: model\.model\.tasks\.1: ObjectHitMaskTask: missing: name$"):
        load("mine.yaml")


def test_null_is_no_number() -> None:
    Path("mine.yaml").write_text(yaml.safe_dump(changed(UPSTREAM, {"data.batch_size": None})))
    with pytest.raises(ValueError, match=r"^data\.batch_size: expected int, got null$"):
        load("mine.yaml")
