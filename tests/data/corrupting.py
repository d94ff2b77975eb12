"""Damages files at random places and reads them: right data or an error that names the file, else it says what came.

usage: corrupting.py KIND FOLDER COUNT SEED, KIND is events, packed, unpacked or checkpoint
"""

import os
import random
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from hitpool.data import EventDataset
from hitpool.files import write_data_set
from hitpool.simulation import HIT_FEATURES, TRACK_FEATURES, Settings, generate_events
from hitpool.training.checkpoints import AtomicCheckpointIO, check_of_training

SECONDS, BYTES = 60, 8 * 2**30  # for reading one damaged file


def write_events(folder: Path, packed: bool) -> None:
    random = np.random.default_rng(1)
    files = [generate_events(random, 3, Settings()) for _ in range(2)]
    write_data_set(folder, files, HIT_FEATURES, TRACK_FEATURES, {}, "test")
    for path in folder.glob("data/*.h5") if packed else []:
        with h5py.File(path, "a") as file:
            for name in ("hits", "tracks"):
                values = file[name][:]
                del file[name]
                file.create_dataset(
                    name, data=values, compression="gzip", fletcher32=True, chunks=(1, *values.shape[1:])
                )


def read_events(folder: Path, unpack_dir: Path | None = None) -> list[np.ndarray]:
    fields = [name for name in HIT_FEATURES if name != "spacePoint_truthLink"]
    targets = {"particle": ["truthMuon_pt", "truthMuon_eta", "truthMuon_phi", "truthMuon_q"]}
    dataset = EventDataset(folder, {"hit": fields}, targets, scale_factors={}, points={}, unpack_dir=unpack_dir)
    return [tensor.numpy() for part in dataset.__getitems__(range(len(dataset))) for tensor in part.values()]


def read_unpacked(folder: Path) -> list[np.ndarray]:
    return read_events(folder.with_name("set"), folder)


def write_checkpoint(folder: Path) -> None:
    torch.manual_seed(0)
    weights = torch.nn.Linear(20, 20).state_dict()
    content = {"state_dict": weights, "global_step": 7, "pytorch-lightning_version": "2.6", "epoch": 1}
    AtomicCheckpointIO().save_checkpoint(content, folder / "last.ckpt")


def read_checkpoint(folder: Path) -> list[np.ndarray]:
    path = folder / "last.ckpt"
    check_of_training(AtomicCheckpointIO().look_into(path), path)
    content = AtomicCheckpointIO().load_checkpoint(path, weights_only=True)
    return [np.array(content["global_step"]), *(weight.numpy() for weight in content["state_dict"].values())]


def damage(path: Path, chance: random.Random) -> str:
    """Changes a range of bytes or cuts the file."""
    data = bytearray(path.read_bytes())
    start = chance.randrange(min(len(data), 4096) if chance.random() < 0.5 else len(data))
    length = chance.choice([1, 1, 2, 4, 8, 64, 1024])
    kind = chance.choice(["flip", "flip", "random", "zero", "cut"])
    if kind == "cut":
        del data[start:]
    for i in range(start, min(start + length, len(data))):
        data[i] = {"flip": data[i] ^ 1 << chance.randrange(8), "random": chance.randrange(256), "zero": 0}[kind]
    path.write_bytes(data)
    return f"{kind} of {length} bytes at {start} of {path.name}"


def outcome(read: Callable[[Path], list[np.ndarray]], folder: Path, wanted: list[np.ndarray]) -> str:
    """Reads in a process of its own."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.write(writer, _outcome(read, folder, wanted).encode()[:2000])
        os._exit(0)
    os.close(writer)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    text = os.read(reader, 4000).decode(errors="replace")
    os.close(reader)
    if status == -signal.SIGALRM:
        return "hang"
    return text if status == 0 else f"crash: {status}"


def _outcome(read: Callable[[Path], list[np.ndarray]], folder: Path, wanted: list[np.ndarray]) -> str:
    try:
        found = read(folder)
    except (ValueError, FileNotFoundError) as error:
        named = str(folder) in str(error) or "available columns" in str(error)
        return "error" if named else f"unnamed: {type(error).__name__}: {error}"
    except BaseException as error:
        return f"bare: {type(error).__name__}: {error}"
    return "right data" if _equal(found, wanted) else "other data"


def _equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return len(found) == len(wanted) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(found, wanted, strict=True)
    )


def main(kind: str, folder: Path, count: int, seed: int) -> None:
    torch.set_num_threads(1)
    good, bad = folder / "good", folder / "bad"
    if kind == "checkpoint":
        good.mkdir(parents=True)
        write_checkpoint(good)
    else:
        write_events(folder / "set" if kind == "unpacked" else good, packed=kind != "events")
    read: Any = {"checkpoint": read_checkpoint, "unpacked": read_unpacked}.get(kind, read_events)
    wanted = read(good)
    chance = random.Random(seed)
    files = sorted(path.relative_to(good) for path in good.rglob("*") if path.is_file())
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        shutil.copytree(good, bad)
        name = chance.choice([file for file in files if file.suffix in (".h5", ".ckpt")] * 5 + files)
        what = damage(bad / name, chance)
        result = outcome(read, bad, wanted)
        outcomes[result.partition(":")[0]] += 1
        if result not in ("error", "right data"):
            print(f"{what}: {result}", flush=True)
        shutil.rmtree(bad)
    print(f"{kind}: {count} damaged files, {dict(outcomes)}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute(), int(sys.argv[3]), int(sys.argv[4]))
