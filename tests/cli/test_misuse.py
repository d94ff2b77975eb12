"""Whatever a user does wrong ends in one line that names it, before there is a run directory."""

import os
import re
import resource
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from hitpool.cli import DATA_HELP, HELP, main
from hitpool.commands import help as training_help
from hitpool.configuration.command_line import configuration

DATA = [f"--data.{part}_dir=data/{part}" for part in ("train", "val", "test")]
TASK = "--model.model.tasks.2"
OWN_CLASSES = """\
from lightning.pytorch import Callback

class Strange(Callback):
    def setup(self, trainer, pl_module, stage):
        self.nothing.there

class NeedsMore(Callback):
    def __init__(self, least: int):
        pass
"""

LIGHTNING = [
    ("--trainer.accelerator=foo", r"trainer \(accelerator foo, .*invalid accelerator name"),
    ("--trainer.max_epochs=-5", r"`max_epochs` must be a non-negative integer or -1.* -5"),
    ("--trainer.strategy=foo", "invalid strategy name"),
    ("--trainer.devices=-3", r"devices -3, .*should be an int > 0"),
    ("--trainer.gradient_clip_algorithm=foo", r"foo is invalid. Allowed algorithms: \['value', 'norm'\]"),
    ("--trainer.limit_train_batches=-1", "invalid value -1.* for limit_train_batches"),
    ("--trainer.max_time=abc", r"duration='abc'"),
    ("--trainer.profiler=foo", "one of .*simple"),
]
PARSED = [
    ("--trainer.max_epochs=abc", "trainer.max_epochs: expected int or null, got abc"),
    (
        "--trainer.precision=foo",
        "trainer.precision: expected int or null or one of (transformer-.*|its choices), got foo",
    ),
    ("--trainer.max_epoch=3", "no option --trainer.max_epoch .did you mean '--trainer.max_epochs'"),
    ("--batch-size=3", "no option --batch-size .did you mean '--data.batch_size'"),
    ("--max_epoch=3", "no option --max_epoch .did you mean '--trainer.max_epochs'"),
    ("--nam=x", "no option --nam .did you mean '--name'"),
    ("--foo=3", "no option --foo; 'hitpool fit --help' lists the options$"),
    ("--model.model.encoder.num_layer=3", "model.model.encoder: Encoder has no option 'num_layer' .did you mean"),
    ("--trainer.callbacks=foo", "trainer.callbacks: expected list or class path or null, got foo"),
    ("--trainer.callbacks+=foo.Bar", "trainer.callbacks: class path foo.Bar: No module named 'foo'"),
    ("--trainer.callbacks+=torch.nn.Linear", "expected class path of a Callback or null, got torch.nn.Linear"),
    ("--trainer.callbacks+=own.Nothing", "class path own.Nothing: module 'own' has no attribute 'Nothing'"),
    ("--trainer.callbacks+=own.NeedsMore", "trainer.callbacks: NeedsMore: missing: least"),
    ("--trainer.callbacks+=broken.Any", "invalid syntax .broken.py, line 1"),
    ("--trainer.callbacks.0.foo=1", "trainer.callbacks.0: TestReport has no option 'foo'"),
    ("--threads=two", "threads: expected positive int or null, got two"),
    ("--data.batch_size=1.5", "data.batch_size: expected int, got 1.5"),
    ("--data.batch_size", "data.batch_size: expected one argument"),
    ("--data.inputs=foo", "data.inputs: expected dict, got foo"),
    ("--model.optimizer=SGD", "model.optimizer: expected one of (AdamW, Lion, got SGD|its choices$)"),
    ("--model.model=foo.Bar", "model.model: class path foo.Bar: No module named 'foo'"),
    ("--model.model.encoder.num_layers=abc", "model.model.encoder.num_layers: expected int, got abc"),
    (f"{TASK}.dim=abc", "fit: model.model.tasks.2.dim: expected int, got abc"),
    (f"{TASK}.loss=foo", "expected one of (cauchy, gaussian, l1, l2, quantile, smooth_l1, got foo|its choices$)"),
    (f"{TASK}.class_path=hitpool.tasks.Foo", "model.model.tasks.2: class path hitpool.tasks.Foo: there is no 'Foo'"),
    ("--config", "--config/-c: expected one argument"),
    ("foo", "there is no option foo"),
]
REFUSED = [
    ("--data.scale_factors.r=abc", "data.scale_factors.r: expected a number, got abc"),
    (f"{TASK}.assignment_threshold=3", "task parameter_regression: assignment_threshold must be from 0 to 1, got 3.0"),
    ("--model.model.encoder.num_heads=0", "Attention: dim = 32 is not a multiple of num_heads = 0"),
    ("--model.model.encoder.num_layers=-1", "Encoder: num_layers must be at least 0, got -1"),
    (f"{TASK}.regression_hidden_dim=0", "Dense: every layer needs at least one feature, got widths .*, 0, "),
    (f"{TASK}.dim=[1", rf"{TASK}.dim: expected a value in YAML, got '\[1'"),
    ("--model.model.input_nets.0.posenc.sym_fields=[a]", r"PositionEncoder: sym_fields \['a'\] are not among"),
    ("--trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches: expected at least 1, got 0"),
    ("--trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch: expected at least 1, got 0"),
    ("--trainer.val_check_interval=0", "trainer.val_check_interval: expected more than 0, got 0"),
    ("--trainer.gradient_clip_val=-1", "trainer.gradient_clip_val: expected at least 0, got -1"),
    ("--data.batch_size=0", "data.batch_size: expected at least 1, got 0"),
    ("--data.num_workers=-1", "data.num_workers: expected at least 0, got -1"),
    ("--data.num_train=100000", "data set data/train: expected a number of events from 1 to 96, or -1 for all, got"),
    ("--data.train_dir=data/train/metadata.yaml", "data set folder data/train/metadata.yaml does not exist"),
    ("--data.train_dir=null", "data.train_dir is not set: expected the folder of the train data set, got null"),
    ("--seed_everything=-1", "seed_everything: expected 0 to 4294967295, got -1"),
    ("--ckpt_path=data", "--checkpoint: data does not exist"),
    ("--checkpoint=data/train/metadata.yaml", "checkpoint data/train/metadata.yaml cannot be read"),
    ("--model.regression_checkpoint=data", "checkpoint data does not exist"),
    ("--config=data", "no configuration file data; packaged configurations: acts.yaml, "),
]
CONFIGURATIONS = [
    (b"", "c.yaml: expected keys and values .*got NoneType"),
    (b"- 3", "c.yaml: expected keys and values .*got list"),
    (b"a:\n\tb: 3", r"c.yaml is not readable as YAML: line 2, column 1: found character '\\t'"),
    (
        b"data: {num_train: 3}\ndata: {num_val: 3}",
        "c.yaml is not readable as YAML: line 2, column 1: the key 'data' is there",
    ),
    (bytes(300), "c.yaml is not readable as YAML: unacceptable character #x0000"),
    (b"\xff\xfe\x00\xff" * 9, "c.yaml is not readable as YAML"),
    (b"name: 3", "c.yaml: name: expected text, got 3"),
    (b"name: a", "c.yaml: there is no model.model, only name: name the configuration that it changes"),
    (b"foo: 3", "c.yaml: there is no option 'foo'"),
    (b"trainer: {max_epoch: 3}", "c.yaml: there is no option 'trainer.max_epoch' .did you mean 'trainer.max_epochs'"),
    (b"model: {model: 3}", "c.yaml: model.model: expected Module .class_path and init_args., got 3"),
]
TASKS = ("model", "model", "init_args", "tasks", "init_args", "modules")
ENCODER = ("model", "model", "init_args", "encoder")
INPUT = ("model", "model", "init_args", "input_nets", "init_args", "modules", 0, "init_args")
STOP = "lightning.pytorch.callbacks.EarlyStop"
CHANGES = [  # of muon.yaml: place, value, message
    (("trainr",), {}, "there is no option 'trainr' (did you mean 'trainer'?)"),
    (("data", "batchsize"), 3, "there is no option 'data.batchsize' (did you mean 'data.batch_size'?)"),
    (("data", "batch_size"), "many", "data.batch_size: expected int, got many"),
    (("data", "inputs"), {"hit": 3}, "data.inputs.hit: expected list, got 3"),
    (
        ("model", "lrs_config", "mx"),
        3,
        "there is no option 'model.lrs_config.mx' (did you mean 'model.lrs_config.max'?)",
    ),
    (("simulate",), {"trainn": 3}, "there is no option 'simulate.trainn' (did you mean 'simulate.train'?)"),
    (("threads",), -1, "threads: expected positive int or null, got -1"),
    (
        ("model", "model", "init_arg"),
        {},
        "model.model: expected class_path and init_args, got 'init_arg' (did you mean 'i",
    ),
    (
        (*ENCODER, "init_args", "num_layer"),
        3,
        "model.model.encoder: Encoder has no option 'num_layer' (did you mean 'num_",
    ),
    ((*ENCODER, "init_args", "num_layers"), "x", "model.model.encoder.num_layers: expected int, got x"),
    ((*ENCODER, "class_path"), "hitpool.nn.Encodr", "there is no 'Encodr' in hitpool.nn (did you mean 'Encoder'?)"),
    ((*ENCODER, "class_path"), "hitpol.nn.Encoder", "there is no module hitpol (did you mean 'hitpool'?)"),
    (ENCODER, 3, "model.model.encoder: expected Module (class_path and init_args), got 3"),
    (
        (*TASKS, 2, "init_args", "los"),
        "l1",
        "tasks.2: WeightedPoolingObjectHitRegressionTask has no option 'los' (did you",
    ),
    pytest.param(
        (*TASKS, 2, "init_args", "loss"),
        "l3",
        "model.model.tasks.2.loss: expected one of cauchy, gaussian, l1, l2, quantile, smooth_l1, got l3",
        marks=pytest.mark.skipif(version("jsonargparse") == "4.40.1", reason="it says neither choices nor value"),
    ),
    (
        (*TASKS, 2, "init_arg"),
        {},
        "model.model.tasks.2: expected class_path and init_args, got 'init_arg' (did you mean",
    ),
    ((*TASKS, 1), 3, "model.model.tasks.1: expected class_path and init_args, got 3"),
    (
        (*INPUT, "foo"),
        3,
        "model.model.input_nets.0: InputNet has no option 'foo'; it has input_name, fields, net, posenc",
    ),
    (
        (*INPUT, "posenc", "init_args", "field"),
        3,
        "input_nets.0.posenc: PositionEncoder has no option 'field' (did you",
    ),
    (("trainer", "callbacks"), "foo", "trainer.callbacks: expected list or class path or null, got foo"),
    (
        ("trainer", "callbacks"),
        [{"class_path": f"{STOP}ping", "init_args": {"monitr": "x"}}],
        "no option 'monitr' (did",
    ),
    (
        ("trainer", "callbacks"),
        [{"class_path": f"{STOP}pin"}],
        "there is no 'EarlyStoppin' in lightning.pytorch.callbacks (d",
    ),
    (("trainer", "callbacks"), [{"class_path": f"{STOP}ping"}], "trainer.callbacks.0: EarlyStopping: missing: monitor"),
]
OTHERS = [
    ("fti", 2, r"hitpool: there is no command 'fti'; the commands are fit, "),
    ("evaluat", 2, r"hitpool: there is no command 'evaluat' .did you mean 'evaluate'"),
    ("config foo", 2, "hitpool config: there is no command 'foo'; the commands are list, show"),
    ("config show", 2, "hitpool config show: missing: name"),
    ("config show muo", 1, "there is no packaged configuration 'muo' .did you mean 'muon'"),
    ("config list --all", 2, "there is no option --all"),
    ("data inspct x", 2, "hitpool data: there is no command 'inspct' .did you mean 'inspect'"),
    ("data inspect --truthlink x", 2, "there is no option --truthlink .did you mean '--truth_link'"),
    ("data convert --worker 2", 2, "there is no option --worker .did you mean '--workers'"),
    ("simulate --outptu x", 2, "there is no option --outptu .did you mean '--output'"),
    ("evaluate --checkpont x", 2, "hitpool evaluate: there is no option --checkpont .did you mean '--checkpoint'"),
    ("evaluate --name nothing", 1, "hitpool evaluate: runs/nothing holds no run"),
    ("export --name nothing --output x", 1, "hitpool export: runs/nothing holds no run"),
    ("export --ckpt_path x", 2, "hitpool export: missing: output"),
    ("fit --config nothing.yaml --nam x", 2, "hitpool fit: there is no option --nam .did you mean '--name'"),
    ("fit --config muo.yaml", 1, "no configuration file muo.yaml .did you mean 'muon.yaml'.*; packaged"),
    ("predict --nam x", 2, "hitpool predict: there is no option --nam .did you mean '--name'"),
    ("test --ckpt x --checkpoint nothing", 2, "hitpool test: there is no option --ckpt .did you mean"),
    ("foo", 2, r"hitpool: there is no command 'foo'; the commands are fit, validate, .*data"),
    ("data foo", 2, "hitpool data: there is no command 'foo'; the commands are inspect, convert"),
    ("simulate", 2, "hitpool simulate: missing: (output, events|output|events); 'hitpool simulate --help'"),
    ("simulate --output x --events abc", 2, "events: expected int, got abc"),
    ("simulate --output x --events -1", 1, "events: expected at least 1, got -1"),
    ("simulate --output data --events 3", 1, "output folder data exists already"),
    ("simulate --output data/train/metadata.yaml/x --events 3", 1, "data/train/metadata.yaml: file exists"),
    ("simulate --output x --events 3 --preset foo", 2, "preset: expected one of (full, sample, got foo|its choices)"),
    ("simulate --output x --events 3 --foo", 2, "there is no option --foo"),
    ("acts --output x --events -1", 1, "hitpool acts: events: expected at least 1, got -1"),
    (
        "evaluate --checkpoint data",
        1,
        "hitpool evaluate: --checkpoint: data does not exist; expected a checkpoint, such as <run>",
    ),
    ("export --checkpoint nothing.ckpt --output x", 1, "hitpool export: --checkpoint: nothing.ckpt does not exist"),
    (
        "export --checkpoint x --output y --format tf",
        2,
        "format: expected null or one of (aoti, onnx, torchscript, export|its choices), got tf",
    ),
    ("data inspect", 2, "hitpool data inspect: missing: directory"),
    ("data inspect data", 1, "data/metadata.yaml is missing; the folder holds: test, train, val"),
    ("data inspect data/train --json x.txt", 1, "--json x.txt: expected a file ending in .json"),
    ("data inspect data/train --plots own.py", 1, "hitpool data inspect: own.py: file exists"),
    ("data inspect data/train --plots /proc/x", 1, "hitpool data inspect: /proc/x cannot be written: "),
    ("data convert --input foo", 2, "hitpool data convert: missing: output"),
    ("data convert --input foo --output x", 1, "input: foo does not exist"),
    ("data convert --input own.py --output x", 1, "own.py is not readable as ROOT"),
    ("data convert --input foo --output x --mapping data", 1, "mapping data does not exist"),
    ("data convert --input foo --output x --workers abc", 2, "workers: expected int, got abc"),
    ("predict --name foo", 1, "hitpool predict: runs/foo holds no run: train with"),
    ("predict --trainer.foo", 2, "there is no option --trainer.foo; "),
]


@pytest.fixture
def place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory with the events, and with classes of the user."""
    Path("own.py").write_text(OWN_CLASSES)
    Path("broken.py").write_text("class\n")
    monkeypatch.syspath_prepend(str(workplace))
    monkeypatch.delenv("HITPOOL_DEBUG", raising=False)
    return workplace


@pytest.fixture
def line(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    """Runs a command that fails; gives the exit status and the one line of the error."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        error = capsys.readouterr().err.splitlines()
        status = stop.value.code
        if isinstance(status, str):  # Python prints it and ends with 1
            error, status = [*error, *status.splitlines()], 1
        assert [text for text in error if text.startswith("hitpool")] == error[-1:]
        return status, error[-1]

    return run


@pytest.mark.parametrize(("option", "expected"), PARSED)
def test_options_that_the_parser_refuses(place: Path, line: Callable, option: str, expected: str) -> None:
    status, message = line("fit", *DATA, option)
    assert re.search(expected, message)
    helps = re.search("there is no option (?!.*did you mean)|missing: ", message) is not None
    assert message.endswith("; 'hitpool fit --help' lists the options") == helps
    assert (status, Path("runs").exists()) == (2, False)


@pytest.mark.parametrize(("option", "expected"), REFUSED)
def test_options_that_make_no_sense(place: Path, line: Callable, option: str, expected: str) -> None:
    status, message = line("fit", *DATA, option)
    assert re.search(expected, message)
    assert (status, Path("runs").exists()) == (1, False)


@pytest.mark.parametrize(("option", "expected"), LIGHTNING)
def test_options_that_lightning_refuses(place: Path, line: Callable, option: str, expected: str) -> None:
    status, message = line("fit", *DATA, option)
    assert re.search(expected, message)
    assert status == 1


@pytest.mark.parametrize(("content", "expected"), CONFIGURATIONS)
def test_configurations(place: Path, line: Callable, content: bytes, expected: str) -> None:
    Path("c.yaml").write_bytes(content)
    _, message = line("fit", *DATA, "--config=c.yaml")
    assert re.search(expected, message)
    assert not Path("runs").exists()


@pytest.mark.parametrize(("place_in_file", "value", "expected"), CHANGES)
def test_a_fault_in_a_file_is_one_line_with_its_place(
    place: Path, line: Callable, place_in_file: tuple[str | int, ...], value: object, expected: str
) -> None:
    content = configuration([])
    node = content
    for key in place_in_file[:-1]:
        node = node[key]
    node[place_in_file[-1]] = value
    Path("c.yaml").write_text(yaml.safe_dump(content))
    status, message = line("fit", *DATA, "--config=c.yaml")
    assert message.startswith("hitpool fit: c.yaml: ")
    assert expected in message
    assert "Namespace" not in message
    assert (status, Path("runs").exists()) == (2, False)


def test_the_file_that_says_it_is_named(place: Path, line: Callable) -> None:
    Path("a.yaml").write_text("data: {batch_size: many}")
    Path("b.yaml").write_text("data: {num_workers: many}")
    Path("c.yaml").write_text("data: {batch_size: 9, num_workers: 0}")
    files = ["--config=muon.yaml", "--config=c.yaml"]
    assert "fit: a.yaml: data.batch_size: expected int" in line("fit", *files, "--config=a.yaml")[1]
    assert "fit: b.yaml: data.num_workers: expected int" in line("fit", *files, "--config=b.yaml")[1]
    assert "fit: data.batch_size: expected int, got x" in line("fit", "--data.batch_size=x", "--data.num_workers=0")[1]


@pytest.mark.parametrize(("command", "status", "expected"), OTHERS)
def test_other_commands(place: Path, line: Callable, command: str, status: int, expected: str) -> None:
    found, message = line(*command.split())
    assert re.search(expected, message)
    assert (found, Path("x").exists(), Path("runs").exists()) == (status, False, False)


def test_a_fault_in_a_program_is_labelled_and_debug_shows_it(
    place: Path, line: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["fit", *DATA, "--trainer.callbacks+=own.Strange"]
    status, message = line(*options)
    assert message == (
        "hitpool fit: unexpected AttributeError: 'Strange' object has no attribute 'nothing' (--debug shows the "
        "traceback; if that ends in hitpool, please report it)"
    )
    assert status == 1
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        main([*options, "--debug"])
    assert not Path("runs").exists()
    monkeypatch.setenv("HITPOOL_DEBUG", "1")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        main(options)


def test_a_start_on_a_full_disk_leaves_nothing(place: Path, line: Callable) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))  # EFBIG where a full disk gives ENOSPC
    try:
        _, message = line("fit", *DATA, "--name=a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert re.search(r"runs/a/version_0/config\.yaml cannot be written: .* at 5,000 bytes of .* are missing", message)
    assert not Path("runs").exists()


@pytest.mark.parametrize("key", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_processes_of_a_training_say_which_they_are(
    place: Path, line: Callable, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    for other in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(key, "3")
    assert line("fit", "--ckpt_path=nothing.ckpt")[1].startswith("hitpool fit (process 3): --checkpoint: nothing.ckpt")


@pytest.mark.parametrize("part", ["train", "val", "test"])
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("spacePoint_driftR", np.nan, "'spacePoint_driftR' of hit 2 is nan, expected a finite number"),
        ("spacePoint_truthLink", 7, "'spacePoint_truthLink' of hit 2 is 7, expected -1 "),
    ],
)
def test_bad_hits_are_found_before_the_run(
    workplace: Path, events: Path, line: Callable, part: str, column: str, value: float, expected: str
) -> None:
    folder = workplace / "bad"
    os.system(f"cp -r {events}/{part} {folder}")
    number = yaml.safe_load((folder / "metadata.yaml").read_text())["hit_features"].index(column)
    with h5py.File(next(folder.glob("**/*.h5")), "r+") as file:
        file["hits"][11, 2, number] = value
        del file["hits_crc32"]
    status, message = line("fit", *DATA, f"--data.{part}_dir=bad")
    assert re.search(rf"hitpool fit: event 11 \(file bad/.*, row 11\): {expected}", message)
    assert (status, Path("runs").exists()) == (1, False)


def test_a_misspelled_name_lists_the_runs(place: Path, line: Callable) -> None:
    for name in ("muon", "other"):
        Path("runs", name, "version_0").mkdir(parents=True)
    for command in ("fit", "predict"):
        status, message = line(command, "--name=muonn", "--ckpt_path=last")
        assert "runs/muonn holds no run (did you mean 'muon'?); runs holds runs of: muon, other" in message
        assert status == 1
    assert sorted(os.listdir("runs")) == ["muon", "other"]


def test_a_misspelled_target_is_named(place: Path, line: Callable) -> None:
    fields = configuration([])["data"]["targets"]["particle"]
    wrong = [field.replace("truthMuon_pt", "truthMuon_ptt") for field in fields]
    _, message = line("fit", *DATA, f"--data.targets.particle=[{','.join(wrong)}]")
    expected = (
        "fields names truthMuon_pt, which data.targets.particle does not list (it has 'truthMuon_ptt' for 'truthM"
    )
    assert expected in message
    options = [f"--data.targets.particle=[{','.join(wrong)}]", f"{TASK}.fields=[{','.join(wrong)}]"]
    _, message = line("fit", *DATA, *options, f"{TASK}.inverse_fields=[]", f"{TASK}.prediction_range=null")
    assert "unknown target field 'truthMuon_ptt' (did you mean 'truthMuon_pt'?); available columns: " in message


def test_a_run_without_its_configuration_is_named(place: Path, line: Callable) -> None:
    checkpoint = Path("runs/muon/version_0/ckpts/best.ckpt")
    checkpoint.parent.mkdir(parents=True)
    torch.save({}, checkpoint)
    assert "runs/muon/version_0/config.yaml does not exist: name the configuration" in line("predict")[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(place: Path, line: Callable) -> None:
    Path("c.yaml").touch(mode=0)
    assert line("fit", "--config=c.yaml")[1] == "hitpool fit: c.yaml: permission denied"


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_help_is_short_and_true(place: Path, capsys: pytest.CaptureFixture, command: str) -> None:
    main([command, "--help"])
    short = capsys.readouterr().out
    assert len(short.splitlines()) < 75
    assert max(map(len, short.splitlines())) <= 120
    with pytest.raises(SystemExit) as stop:
        main([command, "--help_all"])
    assert stop.value.code == 0
    known = set(re.findall(r"--[\w.]+", capsys.readouterr().out)) | {"--help", "--help_all", "--debug"}
    own = set(re.findall(r"--[\w.]+", short))
    assert f"most events of a batch ({configuration([])['data']['batch_size']})" in short
    assert {
        option for option in own - known if not option.startswith(("--model.model.", "--trainer.callbacks."))
    } == set()


def test_help_of_a_part(place: Path, capsys: pytest.CaptureFixture, line: Callable) -> None:
    for part in re.findall(r"--help=PART +options of a part: (.*)\n +(.*)", training_help.overview("fit"))[0]:
        for path in filter(None, part.strip().split(", ")):
            main(["fit", f"--help={path.rstrip(',')}"])
            assert f"  --{path.split('.')[0]}." in capsys.readouterr().out
    main(["fit", "--help=model.tasks", "--config=muon_query.yaml"])
    shown = capsys.readouterr().out
    assert "--model.model.tasks.2.loss_weight LOSS_WEIGHT" in shown
    assert "assignment_threshold" not in shown
    assert "--help=foo: expected a part that begins with trainer, data, model, simulate" in line("fit", "--help=foo")[1]
    assert "the configuration has no 'tassk' there" in line("fit", "--help=model.tassk")[1]


def test_every_command_of_the_overview_is_known() -> None:
    assert re.findall(r"^  (\w+)  ", DATA_HELP, re.MULTILINE) == ["inspect", "convert"]
    assert len(re.findall(r"^  (\w+)  ", HELP, re.MULTILINE)) == 14
