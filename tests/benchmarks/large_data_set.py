"""Makes a data set of millions of events and measures how it is read: time to open, events/s, memory of all processes.

    python tests/benchmarks/large_data_set.py make FOLDER --events 2700000 --width 96
    python tests/benchmarks/large_data_set.py read FOLDER --workers 0 1 2 --batches 3000

One HDF5 file of the tracking layout, one chunk of `width` hits for each event: every row is one of 20,000 simulated
events with at most `width` hits, at random. The disk needs 80 bytes x width x events. Linux only (/proc).
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch
import yaml

from hitpool.data import HitDataModule
from hitpool.simulation import simulate

POOL = 20_000
INPUTS = [f"spacePoint_{name}" for name in ("driftR", "covYY", "channel", "layer", "stationEta", "technology")]
INPUTS += [f"spacePoint_globEdge{edge}{axis}" for edge in ("High", "Low") for axis in "XYZ"]
INPUTS += ["r", "s", "theta", "phi", "eta"]
TARGETS = [f"truthMuon_{name}" for name in ("pt", "eta", "phi", "q")]


def make(folder: Path, events: int, width: int) -> None:
    """Writes the data set."""
    with tempfile.TemporaryDirectory() as temporary:
        simulate(Path(temporary) / "pool", POOL)
        (folder / "data").mkdir(parents=True)
        metadata = yaml.safe_load((Path(temporary) / "pool/metadata.yaml").read_text())
        hits, tracks, num_hits, num_tracks, hits_crc32, tracks_crc32 = [], [], [], [], [], []
        for chunk in metadata["event_mapping"]["chunk_summary"]:
            with h5py.File(Path(temporary) / "pool" / chunk["h5_file"]) as file:
                short = file["num_hits"][:] <= width
                hits += [row.tobytes() for row in file["hits"][:, :width][short]]
                tracks.append(file["tracks"][short])
                num_hits.append(file["num_hits"][short])
                num_tracks.append(file["num_tracks"][short])
                hits_crc32.append(file["hits_crc32"][short])
                tracks_crc32.append(file["tracks_crc32"][short])
    of_rows = (tracks, num_hits, num_tracks, hits_crc32, tracks_crc32)
    tracks, num_hits, num_tracks, hits_crc32, tracks_crc32 = map(np.concatenate, of_rows)
    which = np.random.default_rng(0).integers(0, len(hits), events)
    with h5py.File(folder / "data/filtered_events.h5", "w") as file:
        target = file.create_dataset("hits", (events, width, 20), np.float32, chunks=(1, width, 20))
        for row, i in enumerate(which):
            target.id.write_direct_chunk((row, 0, 0), hits[i])
        target = file.create_dataset("tracks", (events, 2, 4), np.float32, chunks=(1, 2, 4))
        for row, i in enumerate(which):
            target.id.write_direct_chunk((row, 0, 0), tracks[i].tobytes())
        file["num_hits"], file["num_tracks"] = num_hits[which].astype(np.int16), num_tracks[which].astype(np.int16)
        file["hits_crc32"], file["tracks_crc32"] = hits_crc32[which], tracks_crc32[which]
    np.save(folder / "event_file_indices.npy", np.zeros(events, np.int16))
    np.save(folder / "event_row_indices.npy", np.arange(events, dtype=np.int32))
    keys = {key: metadata[key] for key in ("hit_features", "track_features")}
    mapping = {"event_mapping": {"chunk_summary": [{"h5_file": "data/filtered_events.h5"}]}}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(keys | mapping))


def processes() -> list[str]:
    """Process ids of this process and its children."""
    own = Path("/proc/self").resolve().name
    return [own, *Path(f"/proc/{own}/task/{own}/children").read_text().split()]


def cpu_seconds() -> np.ndarray:
    """CPU time of each process."""
    stat = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes()]
    return np.array([int(fields[11]) + int(fields[12]) for fields in stat]) / os.sysconf("SC_CLK_TCK")


def memory() -> dict[str, list[int]]:
    """MiB of this process and its children: private to each, and with the shared part divided among them."""
    result = {"private": [], "proportional": []}
    for pid in processes():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        result["private"].append((kib["Private_Clean"] + kib["Private_Dirty"]) // 1024)
        result["proportional"].append(kib["Pss"] // 1024)
    return result


def read(folder: Path, workers: list[int], batches: int, batch_size: int) -> None:
    """Opens the data set and reads random batches."""
    torch.set_num_threads(1)
    print("before opening, MiB:", memory())
    data = HitDataModule({"hit": INPUTS}, {"particle": TARGETS}, train_dir=folder, batch_size=batch_size)
    start = time.perf_counter()
    dataset = data.dataset("train")
    print(f"opened {len(dataset)} events in {time.perf_counter() - start:.1f} s, MiB: {memory()}")
    start, cpu = time.perf_counter(), time.process_time()
    dataset.check_hits()
    print(f"read and checked all hits in {time.perf_counter() - start:.1f} s, CPU {time.process_time() - cpu:.1f} s")
    for number in workers:
        data.num_workers = number
        loader = data.train_dataloader()
        start = time.perf_counter()
        iterator = iter(loader)
        next(iterator)
        print(f"{number} workers: first batch after {time.perf_counter() - start:.2f} s")
        events, start, shown, cpu = 0, time.perf_counter(), 0, cpu_seconds()
        for batch, (_, targets) in enumerate(iterator):
            events += len(targets["sample_id"])
            if batch == batches:
                break
            if batch >= shown:
                print(f"  {events} events: MiB {memory()}")
                shown += batches // 4
        seconds = time.perf_counter() - start
        cpu = cpu_seconds() - cpu
        print(f"  {events} events in {seconds:.1f} s: {events / seconds:,.0f} events/s, MiB: {memory()}")
        print(f"  events per CPU second: main process {events / cpu[0]:,.0f}", end="")
        print(f", all workers {events / cpu[1:].sum():,.0f}" if number else "")
        del iterator, loader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["make", "read"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=2_700_000)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--batch_size", type=int, default=200)
    arguments = parser.parse_args()
    if arguments.action == "make":
        make(arguments.folder, arguments.events, arguments.width)
    else:
        read(arguments.folder, arguments.workers, arguments.batches, arguments.batch_size)


if __name__ == "__main__":
    main()
