from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from hitpool.data import HitDataModule

from .data_sets import INPUTS_23, TRACK_COLUMNS, make_events, write_dataset

FIELDS = {"inputs": {"hit": INPUTS_23}, "targets": {"particle": TRACK_COLUMNS}}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    sizes = {"train": 90, "val": 30, "test": 31}
    return {
        f"{name}_dir": write_dataset(folder / name, make_events(number, seed=i))
        for i, (name, number) in enumerate(sizes.items())
    }


class Recorder(pl.LightningModule):
    """Notes which events come in which epoch."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[list[int]]] = {}

    def note(self, stage: str, batch) -> None:
        self.seen.setdefault(f"{stage} {self.current_epoch}", []).append(batch[1]["sample_id"].tolist())

    def training_step(self, batch, batch_index):
        self.note("train", batch)
        return self.weight * batch[0]["hit_eta"].sum()

    def validation_step(self, batch, batch_index):
        self.note("val", batch)

    def test_step(self, batch, batch_index):
        self.note("test", batch)

    def predict_step(self, batch, batch_index):
        self.note("predict", batch)
        return batch[1]["sample_id"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder: Path, **arguments) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "devices": 1}
    return pl.Trainer(accelerator="cpu", default_root_dir=folder, num_sanity_val_steps=0, **quiet | arguments)


def flat(batches: list[list[int]]) -> list[int]:
    return [event for batch in batches for event in batch]


def test_every_stage_sees_every_event_once(folders, tmp_path):
    data, module = HitDataModule(**FIELDS, **folders, batch_size=20), Recorder()
    fit = trainer(tmp_path, max_epochs=2, enable_checkpointing=False)
    fit.fit(module, data)
    fit.test(module, data, verbose=False)
    predicted = fit.predict(module, data)
    for epoch in range(2):
        assert sorted(flat(module.seen[f"train {epoch}"])) == list(range(90))
        assert sorted(flat(module.seen[f"val {epoch}"])) == list(range(30))
    assert module.seen["train 0"] != module.seen["train 1"]
    assert module.seen["val 0"] == module.seen["val 1"]
    (test,) = (batches for stage, batches in module.seen.items() if stage.startswith("test"))
    assert sorted(flat(test)) == list(range(31))
    assert [ids.tolist() for ids in predicted] == test
    assert max(map(len, module.seen["train 0"])) <= 20


def test_resumed_run_sees_the_same_order(folders, tmp_path):
    whole = Recorder()
    trainer(tmp_path, max_epochs=4, enable_checkpointing=False).fit(
        whole, HitDataModule(**FIELDS, **folders, batch_size=8)
    )

    torch.manual_seed(1)
    first, second = Recorder(), Recorder()
    saving = pl.callbacks.ModelCheckpoint(tmp_path / "checkpoints", save_last=True)
    trainer(tmp_path, max_epochs=2, callbacks=[saving]).fit(first, HitDataModule(**FIELDS, **folders, batch_size=8))
    torch.manual_seed(2)
    trainer(tmp_path, max_epochs=4, enable_checkpointing=False).fit(
        second, HitDataModule(**FIELDS, **folders, batch_size=8), ckpt_path=saving.last_model_path
    )
    assert first.seen | second.seen == whole.seen


def test_loaders_leave_the_global_random_state_alone(folders):
    data = HitDataModule(**FIELDS, **folders, batch_size=20)
    data.setup("fit")
    state = torch.get_rng_state()
    list(data.train_dataloader())
    list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_give_the_same_batches(folders, workers):
    def batches(num_workers):
        data = HitDataModule(**FIELDS, **folders, batch_size=20, num_workers=num_workers)
        data.setup("fit")
        loader = data.train_dataloader()
        result = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            result += list(loader)
        return result

    for (inputs, targets), (same_inputs, same_targets) in zip(batches(0), batches(workers), strict=True):
        assert all(torch.equal(inputs[name], same_inputs[name]) for name in inputs)
        assert all(torch.equal(targets[name].nan_to_num(9), same_targets[name].nan_to_num(9)) for name in targets)


def test_error_in_a_worker_reaches_the_user(tmp_path):
    events = make_events(20)
    events.hits[7][0, -1] = 5.0
    folder = write_dataset(tmp_path / "set", events)
    data = HitDataModule(**FIELDS, train_dir=folder, val_dir=folder, num_workers=1)
    data.setup("fit")
    with pytest.raises(ValueError, match=r"event 7 .*spacePoint_truthLink' of hit 0 is 5"):
        list(data.train_dataloader())


@pytest.mark.parametrize("grouped", [True, False])
def test_grouping_can_be_switched_off(folders, grouped):
    data = HitDataModule(**FIELDS, **folders, batch_size=9, group_by_length=grouped)
    data.setup("fit")
    lengths = data.dataset("train").num_hits
    spread = [lengths[batch].max() - lengths[batch].min() for batch in data.train_dataloader().sampler]
    assert (max(spread) < 20) == grouped


def test_number_of_events_per_split(folders):
    data = HitDataModule(**FIELDS, **folders, num_train=50, num_val=10, num_test=31)
    data.setup("fit")
    data.setup("test")
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [50, 10, 31]
    again = HitDataModule(**FIELDS, **folders, num_train=50)
    assert again.dataset("train").sample_id.tolist() == data.dataset("train").sample_id.tolist()


def test_train_targets_are_those_of_the_chosen_events(folders):
    data = HitDataModule(**FIELDS, **folders, num_train=40)
    values = data.train_targets()
    loader = data.train_dataloader()
    for name in TRACK_COLUMNS:
        from_batches = torch.cat([targets[f"particle_{name}"][targets["particle_valid"]] for _, targets in loader])
        assert values[name].dtype == torch.float32
        assert torch.equal(values[name].sort().values, from_batches.sort().values)


@pytest.mark.parametrize(
    ("stage", "split"),
    [("fit", "train"), ("fit", "val"), ("validate", "val"), ("test", "test"), ("predict", "test")],
)
def test_a_stage_asks_for_its_folders(folders, stage, split):
    data = HitDataModule(**FIELDS, **folders | {f"{split}_dir": None})
    with pytest.raises(ValueError, match=f"{split}_dir is not set: expected the folder of the {split} data set"):
        data.setup(stage)
    data = HitDataModule(**FIELDS, **folders | {f"{split}_dir": Path("not/there")})
    with pytest.raises(FileNotFoundError, match=r"not/there does not exist"):
        data.setup(stage)


def test_a_stage_needs_its_own_folders_only(folders):
    HitDataModule(**FIELDS, test_dir=folders["test_dir"]).setup("test")
    HitDataModule(**FIELDS, val_dir=folders["val_dir"]).setup("validate")


def test_overfit_batches_is_refused(folders, tmp_path):
    with pytest.raises(ValueError, match=r"overfit_batches is not supported.*data.num_train"):
        trainer(tmp_path, max_epochs=1, overfit_batches=2).fit(Recorder(), HitDataModule(**FIELDS, **folders))


class SharedRecorder(Recorder):
    """Gathers what the ranks have seen."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_fit_end(self) -> None:
        torch.save(self.seen, self.folder / f"rank{self.global_rank}.pt")


def test_two_ranks_share_each_epoch(folders, tmp_path):
    module = SharedRecorder(tmp_path)
    data = HitDataModule(**FIELDS, **folders, batch_size=11)
    fit = trainer(tmp_path, max_epochs=2, enable_checkpointing=False, devices=2, strategy="ddp_fork")
    fit.fit(module, data)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    for epoch in range(2):
        for stage, number in (("train", 90), ("val", 30)):
            parts = [rank[f"{stage} {epoch}"] for rank in ranks]
            assert len(parts[0]) == len(parts[1])
            assert sorted(flat(parts[0]) + flat(parts[1])) == list(range(number))
    assert ranks[0]["train 0"] != ranks[0]["train 1"]
