"""Each rule of the translation of data, trainer and optimizer, on small pieces of configurations."""

from typing import Any

import pytest

from hitpool.configuration.hepattn import translate

from .translations import module, translated

NETWORK = {"model": module("MaskFormer", dim=8)}


def test_data_section() -> None:
    section = {
        "train_dir": "a",
        "event_max_num_particles": 3,
        "pin_memory": True,
        "inputs": {"hit": ["r"]},
        "targets": {"hit": ["on_valid_particle"], "particle": ["pt"]},
    }
    ours = {"train_dir": "a", "max_particles": 3, "inputs": {"hit": ["r"]}, "targets": {"particle": ["pt"]}}
    plain, lines = translated({"data": section, "model": NETWORK})
    as_class, _ = translated({"data": module("AtlasMuonDataModule", "experiments.atlas_muon.data", **section)})
    assert plain["data"] == as_class["data"] == ours
    assert lines == "without meaning here, left out: data: pin_memory; data.targets: hit"
    muon, _ = translated({"data": section | {"inputs": {"hit": ["spacePoint_time", "r"]}}, "model": NETWORK})
    assert muon["data"]["scale_factors"]["spacePoint_time"] == 1e-5  # as in the code of the fork
    with pytest.raises(ValueError, match=r"data\.dummy_testing is true, but hitpool keeps hits without a particle"):
        translate({"data": {"dummy_testing": True}, "model": NETWORK})


def test_filter_results_are_read() -> None:
    section = {"hit_eval_train": "a.h5", "hit_eval_val": "b.h5", "hit_eval_test": None, "hit_filter_threshold": 0.2}
    ours, lines = translated({"data": section, "model": NETWORK})
    assert (ours["data"], lines) == (section, "")


@pytest.mark.parametrize("folders", [{}, {"train_dir": "a", "val_dir": "b", "hit_eval_train": "c.h5"}])
def test_dummy_data_are_simulated(folders: dict[str, Any]) -> None:
    ours, lines = translated({"data": folders | {"dummy_data": True}, "model": NETWORK})
    assert ours["data"] == dict.fromkeys(["train_dir", "val_dir", "test_dir", *folders])
    assert lines == "replaced: data.dummy_data -> simulated events (how many: --simulate.train, .val, .test)"
    ours, lines = translated({"data": folders | {"dummy_data": False}, "model": NETWORK})
    assert (ours["data"], lines) == (folders, "")


def test_the_factor_of_the_station_is_said() -> None:
    def read(**section: Any) -> tuple[dict[str, Any], str]:
        ours, lines = translated({"data": section, "model": NETWORK})
        return ours["data"], lines

    station = {"hit": ["spacePoint_stationIndex"]}
    section, lines = read(inputs=station)
    assert section["scale_factors"]["spacePoint_stationIndex"] == 0.1
    assert lines == (
        "replaced: spacePoint_stationIndex -> 0.1 spacePoint_stationIndex (older code of the fork left it as it is: "
        "--data.scale_factors.spacePoint_stationIndex 1)"
    )
    assert read(inputs={"hit": ["spacePoint_layer"]})[1] == ""
    for factors in ({"spacePoint_stationIndex": 1.0}, {}, None):
        section, lines = read(inputs=station, scale_factors=factors)
        assert (section["scale_factors"], lines) == (factors, "")


def trainer(gpu: bool = True, **settings: Any) -> tuple[dict[str, Any], str]:
    fields = ["truthMuon_pt", "truthMuon_eta", "truthMuon_phi", "truthMuon_q"]
    config = {"data": {"targets": {"particle": fields}}, "trainer": settings, "model": module("ModelWrapper")}
    ours, lines = translated(config, gpu)
    return ours["trainer"], lines


def test_loggers_and_callbacks() -> None:
    early = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "val/loss"}}
    writer = module("PredictionWriter", "callbacks", write_inputs=False)
    section, lines = trainer(
        logger=module("MyCometLogger", "utils.loggers", name="x"),
        callbacks=[
            module("Compile", "callbacks"),
            module("Checkpoint", "callbacks", monitor="val/loss"),
            early,
            writer,
        ],
        default_root_dir="logs",
    )
    assert section == {
        "logger": None,
        "callbacks": [
            early,
            {"class_path": "hitpool.evaluation.PredictionWriter", "init_args": {}},
            {"class_path": "hitpool.evaluation.TestReport"},
        ],
    }
    replaced = lines.splitlines()[-1]
    assert replaced.startswith("replaced: ")
    assert all(name in replaced for name in ("MyCometLogger", "Compile", "Checkpoint", "default_root_dir -> --runs"))
    csv = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "x"}}
    section, _ = trainer(logger=[{"class_path": "lightning.pytorch.loggers.CometLogger"}, csv])
    assert section["logger"] == [csv]


@pytest.mark.parametrize("settings", [{}, {"callbacks": None}, {"callbacks": [module("Compile", "callbacks")]}])
def test_results_and_predictions_are_always_written(settings: dict[str, Any]) -> None:
    section, _ = trainer(**settings)
    assert section["callbacks"] == [
        {"class_path": "hitpool.evaluation.PredictionWriter"},
        {"class_path": "hitpool.evaluation.TestReport"},
    ]


def test_what_is_there_stays_and_is_not_added_again() -> None:
    report = {"class_path": "hitpool.evaluation.TestReport", "init_args": {"charge": "truthMuon_q"}}
    given = ["lightning.pytorch.callbacks.ModelSummary", "hitpool.evaluation.PredictionWriter", report]
    assert trainer(callbacks=given)[0]["callbacks"] == given


def test_gpu_is_asked_for_only_where_there_is_one() -> None:
    asked = {"accelerator": "gpu", "devices": [1]}
    section, lines = trainer(**asked)
    assert {name: section[name] for name in asked} == asked
    assert lines == ""
    section, lines = trainer(gpu=False, **asked)
    assert {name: section[name] for name in asked} == {"accelerator": "auto", "devices": "auto"}
    assert "there is no GPU here" in lines


CYCLE = {"initial": 1e-4, "max": 1e-3, "end": 1e-6, "pct_start": 0.1}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"lrs_config": {**CYCLE, "skip_scheduler": False}, "optimizer": "lion"}, {**CYCLE}),
        ({"lrs_config": {**CYCLE, "skip_scheduler": True}}, {**CYCLE, "max": 1e-4, "end": 1e-4}),
        (
            {
                "optimizer": {"class_path": "lion_pytorch.Lion", "init_args": {"lr": 1e-4, "weight_decay": 0.5}},
                "lr_scheduler": {
                    "class_path": "hepattn.utils.schedulers.OneCycleLR",
                    "init_args": {"max_lr": 1e-3, "pct_start": 0.1, "div_factor": 10, "final_div_factor": 100},
                },
            },
            {**CYCLE, "weight_decay": 0.5},
        ),
        (
            {
                "lrs_config": {
                    "class_path": "torch.optim.lr_scheduler.OneCycleLR",
                    "init_args": {"max_lr": 1e-3, "total_steps": None, "pct_start": 0.1, "div_factor": 10},
                }
            },
            {**CYCLE, "end": 1e-8},
        ),
    ],
)
def test_optimizer_and_learning_rate(section: dict[str, Any], expected: dict[str, Any]) -> None:
    config = section | {"mtl": False, "model": module("Dense", input_size=2)}
    plain, _ = translated({"model": config})
    as_class, _ = translated({"model": module("TrackMLTracker", "experiments.atlas_muon", name="x", **config)})
    assert plain["model"] == as_class["model"]
    assert plain["model"]["lrs_config"] == pytest.approx(expected)
    assert plain["model"].get("optimizer") in (None, "Lion")
    assert set(plain["model"]) <= {"model", "optimizer", "lrs_config"}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"mtl": True}, r"model\.mtl is true"),
        (
            {"lr_scheduler": "torch.optim.lr_scheduler.OneCycleLR"},
            "model.lr_scheduler: expected a mapping, got 'torch",
        ),
        (
            {"lr_scheduler": {"class_path": "x.OneCycleLR", "init_args": {"max_lr": 1.0, "anneal_strategy": "linear"}}},
            r"model\.lr_scheduler\.anneal_strategy is 'linear', .*: set it to 'cos'",
        ),
        ({"lr_scheduler": {"class_path": "torch.optim.lr_scheduler.StepLR"}}, r"model\.lr_scheduler\.class_path"),
    ],
)
def test_other_ways_to_train_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        translate({"model": section | {"model": module("Dense", input_size=2)}})


def test_checkpoints_of_hepattn_are_not_continued() -> None:
    model = {"model": module("Dense", input_size=2)}
    assert "ckpt_path" not in translated({"ckpt_path": None, "model": model})[0]
    with pytest.raises(ValueError, match=r"ckpt_path: hitpool cannot continue"):
        translate({"ckpt_path": "epoch=3.ckpt", "model": model})
