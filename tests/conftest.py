"""Simulated events and the default model; a worker of pytest-xdist, and what it starts, computes with one thread."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

    import torch

    torch.set_num_threads(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "cuda: runs on a GPU")


@pytest.fixture(params=["default", "avx2", "avx512"])
def capability(request: pytest.FixtureRequest) -> str:
    """A value of ATEN_CPU_CAPABILITY that this processor can have: torch believes any."""
    import torch

    known = ["default", "avx2", "avx512"]
    here = torch.backends.cpu.get_cpu_capability().lower()
    if here not in known or known.index(request.param) > known.index(here):
        pytest.skip(f"this processor has {here}, not {request.param}")
    return request.param


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hitpool.simulation import simulate

    path = tmp_path_factory.mktemp("data") / "events"
    simulate(path, events=40, seed=5, processes=1)
    return path


@pytest.fixture(scope="session")
def objects(data_set: Path, tmp_path_factory: pytest.TempPathFactory):
    from hitpool.config import load

    overrides = {f"data.{part}_dir": str(data_set) for part in ("train", "val", "test")}
    overrides |= {"runs": str(tmp_path_factory.mktemp("runs")), "data.batch_size": 16}
    objects = load("muon.yaml", overrides)
    values = objects.datamodule.train_targets()
    for task in objects.model.model.tasks:
        if hasattr(task, "fit_standardization"):
            task.fit_standardization(values)
    return objects


@pytest.fixture(scope="session")
def checkpoint(objects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model with random weights, in a run directory."""
    import torch

    run = tmp_path_factory.mktemp("run")
    (run / "config.yaml").write_text(yaml.safe_dump(objects.config))
    (run / "ckpts").mkdir()
    torch.save({"state_dict": objects.model.state_dict()}, run / "ckpts" / "best.ckpt")
    return run / "ckpts" / "best.ckpt"


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder that all workers share."""
    from hitpool.files import alone

    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, done = root / name, root / f"{name}-is-made"
        with alone(folder, wait=lambda line: None):
            if not done.exists():
                folder.mkdir(exist_ok=True)
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def small_model(data_set: Path):
    """A small network with random weights, the same in every worker, and the fit of the default one."""
    from hitpool.config import load
    from hitpool.export import DeployedModel
    from hitpool.files import read_index

    layers = {"encoder.init_args.num_layers": 1, "decoder.init_args.num_decoder_layers": 1}
    overrides = {f"model.model.{key}": value for key, value in layers.items()} | {"trainer.accelerator": "cpu"}
    objects = load("muon.yaml", overrides | {f"data.{part}_dir": str(data_set) for part in ("train", "val", "test")})
    data, network = objects.datamodule, objects.model.model
    for task in network.tasks:
        task.fit_standardization(data.train_targets())
        if getattr(task, "response", None) is not None:
            task.response.declare(trained=True)
    columns = read_index(data_set).hit_columns
    return DeployedModel(network, data.inputs["hit"], data.scale_factors, data.points, columns).eval()


@pytest.fixture(scope="session")
def package(once: Callable[..., Path], small_model, data_set: Path) -> Path:
    """The small model as a package of AOTInductor, which takes a minute to compile."""
    from hitpool.export import aoti, check_events, write_model

    try:
        aoti.require()
    except RuntimeError as error:
        pytest.skip(str(error))

    def make(folder: Path) -> None:
        events = check_events.real_events(data_set, small_model.columns)
        write_model(
            small_model, folder / "small.pt2", "aoti", {"truthMuon_pt": "GeV"}, events, {"checkpoint_sha256": "abc"}
        )

    return once("package", make) / "small.pt2"


@pytest.fixture(scope="session")
def as_onnx():
    """Records a function as ONNX: takes it, tensors like its arguments, and which of their sizes are free."""
    import onnx
    import onnxruntime
    import torch

    from hitpool.export.recording import recorder
    from hitpool.nn.recorded import recording

    def record(function, tensors, free=None):
        recorded = recorder()
        inputs = []
        for i, tensor in enumerate(tensors):
            sizes = [(free or {}).get(size, size) for size in tensor.shape]
            names = [f"free{size}" if size in (free or {}) else size for size in tensor.shape]
            inputs.append(recorded.input(f"x{i}", tensor.dtype, sizes, names))
        with torch.no_grad(), recording(), recorded:
            outputs = function(*inputs)
        for i, output in enumerate([outputs] if isinstance(outputs, torch.Tensor) else outputs):
            recorded.graph.output(f"y{i}", output.value, output.dtype, [f"y{i}_{axis}" for axis in range(output.dim())])
        model = recorded.graph.write("test")
        onnx.checker.check_model(model, full_check=True)
        assert {node.domain for node in model.graph.node} == {""}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = {given.name for given in session.get_inputs()}

        def run(*given):
            feed = {f"x{i}": tensor.contiguous().numpy() for i, tensor in enumerate(given) if f"x{i}" in names}
            results = [torch.from_numpy(result.copy()) for result in session.run(None, feed)]
            return results[0] if len(results) == 1 else tuple(results)

        return run

    return record
