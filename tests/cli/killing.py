"""Kills a command at random steps of its work on files, repeats it to the end, and compares with an undisturbed one.

usage: killing.py COMMAND EVENTS FOLDER COUNT SEED
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import torch

from hitpool import cli
from hitpool.commands import training  # noqa: F401  (before the forks, so that they start at once)
from hitpool.data import EventDataset
from hitpool.files import PartialFile

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "fcntl.flock")


class Count:
    """Counts the steps of this process that change files, and kills it before step `end`.

    Args:
        end: Number of the step; 0 for never.
    """

    def __init__(self, end: int) -> None:
        self.end, self.steps, self.process = end, 0, os.getpid()
        sys.addaudithook(self._audit)
        write = PartialFile.write

        def counted(file: PartialFile, data: bytes) -> int:
            view = memoryview(data)
            if self.step() and view.ndim == 1:
                write(file, view[: len(view) // 2])
            self.kill()
            return write(file, data)

        PartialFile.write = counted

    def _audit(self, event: str, arguments: tuple) -> None:
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & writing):
            self.step()
            self.kill()

    def step(self) -> bool:
        self.steps += os.getpid() == self.process
        return self.steps == self.end

    def kill(self) -> None:
        if self.steps == self.end and os.getpid() == self.process:
            os.kill(self.process, signal.SIGKILL)


def run(command: Callable[[], None], end: int = 0) -> tuple[int, int]:
    """Runs a command in a process of its own, killed before step `end`: exit status and number of steps."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        log = os.open("../log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        count, status = Count(end), 1
        try:
            command()
            status = 0
        except SystemExit as stop:
            status = 0 if stop.code is None else 1
            print(stop.code, flush=True)
        except BaseException:
            traceback.print_exc()
        os.write(writer, str(count.steps).encode())
        os._exit(status)
    os.close(writer)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    steps = int(os.read(reader, 20) or 0)
    os.close(reader)
    return status, steps


def content(folder: Path) -> dict[str, str]:
    """What a user finds: files by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        assert not path.name.startswith("."), f"{path} is left over"
        if path.suffix == ".ckpt":
            weights = torch.load(path, weights_only=True)["state_dict"]
            data = b"".join(weights[key].numpy().tobytes() for key in sorted(weights))
        elif path.suffix == ".pt":
            data = results_of_model(path)
        elif path.name == "predictions.h5":
            data = values_of(path)
        elif path.is_dir() or "tfevents" in path.name or path.name in ("log.txt", "starts.yaml"):  # of each start
            continue
        else:
            data = path.read_bytes()
        found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def results_of_model(path: Path) -> bytes:
    """What an exported model gives for some hits; its file differs from export to export."""
    extra = {"hitpool.json": ""}
    model = torch.jit.load(str(path), _extra_files=extra)
    columns = len(json.loads(extra["hitpool.json"])["inputs"][0]["columns"])
    hits = torch.randn(2, 9, columns, generator=torch.Generator().manual_seed(0))
    return b"".join(result.numpy().tobytes() for result in model(hits, torch.ones(2, 9, dtype=torch.bool)))


def values_of(path: Path) -> bytes:
    """All numbers of an HDF5 file; the file also holds times."""
    found: list[bytes] = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: found.append(item[()].tobytes()) if isinstance(item, h5py.Dataset) else None)
    return b"".join(found)


def pack(source: Path, target: Path) -> None:
    """Copies a data set with compressed hits, which have to be unpacked."""
    shutil.copytree(source, target)
    for path in (target / "data").iterdir():
        with h5py.File(path, "a") as file:
            hits = file["hits"][:]
            del file["hits"]
            file.create_dataset("hits", data=hits, compression="gzip", chunks=(1, *hits.shape[1:]))


def unpack() -> None:
    fields = ["spacePoint_time", "spacePoint_driftR"]
    targets = {"particle": ["truthMuon_pt"]}
    EventDataset("../packed", {"hit": fields}, targets, scale_factors={}, points={}, unpack_dir="unpacked")


def commands(name: str, events: Path) -> tuple[Callable[[], None], Callable[[], None], Path | None]:
    """The command, what repeats it, and a folder in which it starts."""
    data = [f"--data.{part}_dir={events / part}" for part in ("train", "val", "test")]
    fit = ["fit", *data, "--data.num_train=16", "--data.batch_size=8", "--trainer.callbacks=null", "--name=a"]
    fit += ["--trainer.max_epochs=2", "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1"]
    checkpoint = "runs/a/version_0/ckpts/last.ckpt"
    writer = "--trainer.callbacks+=hitpool.evaluation.PredictionWriter"
    arguments = {
        "simulate": ["simulate", "--output=set", "--events=20", "--processes=1"],
        "convert": ["data", "convert", "--input", "../a.root", "../b.root", "--output=set", "--workers=1"],
        "predict": ["predict", "--name=a", f"--ckpt_path={checkpoint}", writer],
        "export": ["export", f"--checkpoint={checkpoint}", "--output=model.pt"],
    }
    if name == "fit":
        return lambda: cli.main(fit), lambda: cli.main([*fit, "--ckpt_path=last"]), None
    if name == "unpack":
        pack(events / "train", Path("packed"))
        return unpack, unpack, None
    start = None
    if name in ("predict", "export"):
        start = Path("trained").absolute()
        start.mkdir()
        os.chdir(start)
        assert run(lambda: cli.main(fit))[0] == 0, Path("../log.txt").read_text(encoding="utf-8")
        os.chdir("..")
    return lambda: cli.main(arguments[name]), lambda: cli.main(arguments[name]), start


def main(name: str, events: Path, folder: Path, count: int, seed: int) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    first, again, start = commands(name, events)

    def begin() -> Path:
        place = folder / "place"
        os.chdir(folder)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(start, place) if start else place.mkdir()
        os.chdir(place)
        return place

    place = begin()
    status, steps = run(first)
    assert status == 0, Path("../log.txt").read_text(encoding="utf-8")
    wanted = content(place)
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        begin()
        end = chance.randint(1, steps)
        status, _ = run(first, end)
        outcomes["killed" if status == -signal.SIGKILL else "ended before"] += 1
        if chance.random() < 0.3:
            run(again, chance.randint(1, steps))
            outcomes["killed again"] += 1
        status, _ = run(again)
        log = Path("../log.txt").read_text(encoding="utf-8")
        assert status == 0 or (name == "simulate" and "set exists already" in log), f"step {end}: {log}"
        found = content(place)
        assert found == wanted, f"step {end}: {found} instead of {wanted}"
    print(f"{name}: {steps} steps, {count} repeats end like the undisturbed one; {dict(outcomes)}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute(), Path(sys.argv[3]).absolute(), int(sys.argv[4]), int(sys.argv[5]))
