"""The Lightning data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hitpool.data.batch_sampler import LengthGroupedBatchSampler
from hitpool.data.dataset import Batch, EventDataset
from hitpool.data.doubts import doubts
from hitpool.data.hit_filter import check_threshold
from hitpool.data.packing import collate

NO_OVERFIT_BATCHES = (
    "trainer.overfit_batches is not supported: Lightning would replace the batch sampler; set data.num_train (and "
    "data.val_dir to the training folder) instead"
)


class HitDataModule(pl.LightningDataModule):
    """Reads training, validation and test events from data set folders and gives padded batches.

    A batch is ``(inputs, targets)``, see ``EventDataset``. The order of an epoch depends on ``seed`` and the
    number of the epoch alone; each event comes once per epoch, over all ranks; see
    ``LengthGroupedBatchSampler``. The validation and test order is the same in every epoch, but not that of
    the files (there, events are ordered by process); ``sample_id`` says which event is which.

    Args:
        train_dir: Folder of the training events; needed by ``fit``.
        val_dir: Folder of the validation events; needed by ``fit`` and ``validate``.
        test_dir: Folder of the test events; needed by ``test`` and ``predict``.
        inputs: One entry: the input name (``hit``) and its fields, columns of the files or derived ones.
        targets: One entry: the name of the truth objects (``particle``) and their fields, columns of
            ``tracks`` or ``<prefix>qpt`` = ``<prefix>q`` / ``<prefix>pt``.
        num_train: Number of training events, a random but reproducible choice; -1 for all.
        num_val: Number of validation events; -1 for all.
        num_test: Number of test events; -1 for all.
        batch_size: Most events in a batch, for each rank.
        num_workers: Processes that read ahead; 0 reads in the main process.
        max_particles: Slots for truth particles in an event.
        group_by_length: Put events of similar hit count into one batch, to spend little on padding.
        seed: Seed of the choice of events and of their order.
        scale_factors: Factor for each column or derived field; 1 where none is given. Further configurations and
            options add to it; null forgets what is before.
        points: For each prefix of derived fields the coordinate triples whose mean is the point (replaces
            those of the muon columns).
        truth_link: Column that links a hit to its track; None takes the one that the data set names, or that of the
            muon columns.
        unpack_dir: Folder where compressed files are unpacked once for all processes and later runs (80 bytes
            for each hit of 20 columns); None does it in every process that opens the data, into ``TMPDIR``.
        hit_eval_train: File of a filter's results for the training events, see ``hitpool.data.hit_filter.HitFilter``:
            hits that it drops are as if they were not there, particles stay, with the hits that remain.
        hit_eval_val: The same for the validation events.
        hit_eval_test: The same for the test events.
        hit_filter_threshold: Least probability of a hit that is kept; None is 0.1. With files that hold decisions
            instead of probabilities, any other is an error.

    Raises:
        ValueError: If a number is too small, a folder that is needed is not set, or the data are bad.
        FileNotFoundError: If a folder or file is missing.
    """

    def __init__(
        self,
        inputs: dict[str, list[str]],
        targets: dict[str, list[str]],
        train_dir: Path | str | None = None,
        val_dir: Path | str | None = None,
        test_dir: Path | str | None = None,
        num_train: int = -1,
        num_val: int = -1,
        num_test: int = -1,
        batch_size: int = 200,
        num_workers: int = 0,
        max_particles: int = 2,
        group_by_length: bool = True,
        seed: int = 42,
        scale_factors: dict[str, float] | None = None,
        points: dict[str, list[list[str]]] | None = None,
        truth_link: str | None = None,
        unpack_dir: Path | str | None = None,
        hit_eval_train: Path | str | None = None,
        hit_eval_val: Path | str | None = None,
        hit_eval_test: Path | str | None = None,
        hit_filter_threshold: float | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0), ("seed", seed, 0)):
            if value < least:
                raise ValueError(f"data.{name}: expected at least {least}, got {value}")
        check_threshold(hit_filter_threshold)
        self.train_dir = train_dir
        self.val_dir = val_dir
        self.test_dir = test_dir
        self.inputs = inputs
        self.targets = targets
        self.num_train = num_train
        self.num_val = num_val
        self.num_test = num_test
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.max_particles = max_particles
        self.group_by_length = group_by_length
        self.seed = seed
        self.scale_factors = scale_factors
        self.points = points
        self.truth_link = truth_link
        self.unpack_dir = unpack_dir
        self.hit_eval_train = hit_eval_train
        self.hit_eval_val = hit_eval_val
        self.hit_eval_test = hit_eval_test
        self.hit_filter_threshold = hit_filter_threshold
        self._datasets: dict[str, EventDataset] = {}
        self._stored: dict[str, int] = {}
        self._place = (0, 0, False)

    def setup(self, stage: str) -> None:
        """Opens and checks the data sets that a stage needs.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.
        """
        trainer = self.trainer
        if stage == "fit" and trainer is not None and trainer.overfit_batches > 0:  # type: ignore[attr-defined]
            raise ValueError(NO_OVERFIT_BATCHES)
        self._stored, self._place = {}, (0, 0, False)
        for split in {"fit": ("train", "val"), "validate": ("val",)}.get(stage, ("test",)):
            self.dataset(split)

    def dataset(self, split: str) -> EventDataset:
        """Opens a data set at the first call.

        Args:
            split: ``train``, ``val`` or ``test``.

        Returns:
            The data set; the same object at every call.

        Raises:
            ValueError: If the folder is not set, or the data are bad.
            FileNotFoundError: If the folder or a file is missing.
        """
        if split not in self._datasets:
            directory = getattr(self, f"{split}_dir")
            if directory is None:
                raise ValueError(f"data.{split}_dir is not set: expected the folder of the {split} data set, got null")
            self._datasets[split] = EventDataset(
                directory,
                self.inputs,
                self.targets,
                num_events=getattr(self, f"num_{split}"),
                max_particles=self.max_particles,
                seed=self.seed,
                scale_factors=self.scale_factors,
                points=self.points,
                truth_link=self.truth_link,
                unpack_dir=self.unpack_dir,
                hit_eval=getattr(self, f"hit_eval_{split}"),
                hit_filter_threshold=self.hit_filter_threshold,
            )
        return self._datasets[split]

    def test_on(self, directory: Path | str, hit_eval: Path | str | None = None) -> None:
        """Takes all events of a folder as test events.

        Args:
            directory: Folder of the data set.
            hit_eval: File of a filter's results for them; None for the one that belongs to the same folder as training,
                validation or test events, if there is one.
        """
        for split in ("train", "val", "test"):
            own = getattr(self, f"{split}_dir")
            if hit_eval is None and own is not None and Path(own).resolve() == Path(directory).resolve():
                hit_eval = getattr(self, f"hit_eval_{split}")
        self.test_dir, self.num_test, self.hit_eval_test = directory, -1, hit_eval
        self._datasets.pop("test", None)

    def check_positive(self, field: str) -> None:
        """Checks that a target is above 0 in all data sets that are open.

        Args:
            field: A target field.

        Raises:
            ValueError: If it is not; names file, event and track.
        """
        for dataset in self._datasets.values():
            dataset.check_positive(field)

    def check_hits(self) -> None:
        """Reads the hits of all data sets that are open, once.

        Raises:
            ValueError: If one is not finite, or has an impossible truth link; names file, event and field.
        """
        for dataset in self._datasets.values():
            dataset.check_hits()

    def doubts(self) -> list[str]:
        """What looks wrong in the training events, see `hitpool.data.doubts`.

        Returns:
            A line for each kind of doubt, which names columns or fields.

        Raises:
            ValueError: If the hits are bad.
        """
        return doubts(self.dataset("train"))

    def train_targets(self) -> dict[str, Tensor]:
        """Gives the targets of all particles of the chosen training events.

        Returns:
            For each target field, float32 [particles].
        """
        return self.dataset("train").particle_values()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the data.

        Returns:
            `hit_columns`: the columns of the training events on disk, in their order, so that a model is exported
            without its data; `units`: those of its columns; `batches`: what the batches of an epoch depend on.
        """
        if "train" not in self._datasets:
            return {}
        index = self.dataset("train").index
        return {"hit_columns": index.hit_columns, "units": dict(index.units), "batches": self._batches_depend_on()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remembers what the batches depended on when the checkpoint was written."""
        self._stored = state_dict.get("batches", {})

    def continue_epoch(self, epoch: int, batches: int, complete: bool) -> None:
        """Says where a training that a checkpoint continues begins.

        Args:
            epoch: Its first epoch, counted from 0.
            batches: Number of batches of that epoch that were trained already; the training batches start after them.
            complete: Whether the epoch has no others.
        """
        self._place = (epoch, batches, complete)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training batches, in a new order every epoch.

        Raises:
            ValueError: If the batches of the epoch that a checkpoint continues are no longer the same.
        """
        epoch, batches, complete = self._place
        present = self._batches_depend_on()
        changed = [name for name, value in present.items() if self._stored.get(name, value) != value]
        if batches and changed and not complete:
            before, now = self._stored[changed[0]], present[changed[0]]
            raise ValueError(
                f"the checkpoint was written after {batches} batches of epoch {epoch + 1}, whose other batches need "
                f"the same {changed[0]}: expected {before}, got {now}; a checkpoint of the end of an epoch does not"
            )
        loader = self._loader("train", reshuffle=True)
        # worker processes read the first batches before Lightning tells the sampler the epoch
        assert isinstance(loader.sampler, LengthGroupedBatchSampler)
        loader.sampler.continue_epoch(epoch, len(loader) if complete else batches)
        return loader

    def _batches_depend_on(self) -> dict[str, int]:
        return {
            "number of training events": len(self.dataset("train")),
            "number of training hits": int(self.dataset("train").num_hits.sum()),
            "data.batch_size": self.batch_size,
            "data.seed": self.seed,
            "data.group_by_length": self.group_by_length,
            "number of processes": self.trainer.world_size if self.trainer else 1,
        }

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, in the same order every epoch."""
        return self._loader("val", reshuffle=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test batches."""
        return self._loader("test", reshuffle=False)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test batches again."""
        return self._loader("test", reshuffle=False)

    def whole_dataloader(self, split: str) -> DataLoader[Batch]:
        """All batches of a data set, in the same order every time, whatever other processes read.

        Args:
            split: ``train``, ``val`` or ``test``.
        """
        return self._loader(split, reshuffle=False, whole=True)

    def _loader(self, split: str, reshuffle: bool, whole: bool = False) -> DataLoader[Batch]:
        dataset = self.dataset(split)
        distributed = not whole and torch.distributed.is_available() and torch.distributed.is_initialized()
        sampler = LengthGroupedBatchSampler(
            dataset.num_hits,
            self.batch_size,
            seed=self.seed,
            group_by_length=self.group_by_length,
            reshuffle=reshuffle,
            num_replicas=torch.distributed.get_world_size() if distributed else 1,
            rank=torch.distributed.get_rank() if distributed else 0,
        )
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=None,  # the sampler gives whole batches
            collate_fn=collate,  # type: ignore[arg-type] # gets one item, not a list, because batch_size is None
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),  # else iterating would draw from the global one
        )
