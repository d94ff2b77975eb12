import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import yaml

from hitpool.files import write_event_file
from hitpool.simulation import generate, simulate


@pytest.fixture
def small_batches(monkeypatch):
    """Batches of 40 and files of 80 events, so that little work needs several of each."""
    monkeypatch.setattr(generate, "EVENTS_PER_BATCH", 40)
    monkeypatch.setattr(generate, "EVENTS_PER_FILE", 80)


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_output_does_not_depend_on_the_number_of_processes(tmp_path, small_batches):
    for processes in (1, 2, 3):
        simulate(tmp_path / str(processes), 210, seed=4, processes=processes)
    one = content(tmp_path / "1")
    assert one.keys() >= {"data/events_0000.h5", "data/events_0001.h5", "data/events_0002.h5", "metadata.yaml"}
    assert content(tmp_path / "2") == one
    assert content(tmp_path / "3") == one
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2", "3"]


def test_number_of_events_and_settings_in_the_metadata(tmp_path, small_batches):
    simulate(tmp_path / "set", 210, seed=9, preset="sample", spectrum="fixed", pt=80.0, split=2, processes=2)
    metadata = yaml.safe_load((tmp_path / "set" / "metadata.yaml").read_text())
    assert [c["event_count"] for c in metadata["event_mapping"]["chunk_summary"]] == [80, 80, 50]
    generator = metadata["generator"]
    assert (generator["version"], generator["seed"], generator["split"]) == (1, 9, 2)
    settings = generator["settings"]
    assert (settings["preset"], settings["spectrum"], settings["pt"], settings["step"]) == (
        "sample",
        "fixed",
        80.0,
        0.1,
    )
    rows = 0
    for chunk in metadata["event_mapping"]["chunk_summary"]:
        with h5py.File(tmp_path / "set" / chunk["h5_file"]) as file:
            pt = file["tracks"][:, :, 0]
            assert np.all(pt[np.isfinite(pt)] == 80.0)
            rows += file["hits"].shape[0]
    assert rows == 210


def test_seed_and_split_and_batch_change_the_events(tmp_path, small_batches):
    def tracks(name, **options):
        simulate(tmp_path / name, 80, processes=1, **options)
        with h5py.File(tmp_path / name / "data" / "events_0000.h5") as file:
            return file["tracks"][:, 0]

    first, other_seed, other_split = tracks("a", seed=1), tracks("b", seed=2), tracks("c", seed=1, split=1)
    for other in (other_seed, other_split):
        assert not np.any(np.all(first == other, axis=1))
    assert not np.any(np.all(first[:40] == first[40:], axis=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": 0}, "events: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"split": -2}, "split: expected at least 0, got -2"),
        ({"processes": 0}, "processes: expected at least 1, got 0"),
        ({"preset": "most"}, "preset: expected one of full, sample, got 'most'"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        simulate(**({"output": tmp_path / "set", "events": 5} | options))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_an_error(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        simulate(tmp_path / "set", 5)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_run_leaves_nothing(tmp_path, small_batches, monkeypatch, processes):
    def interrupted(path, *arguments):
        write_event_file(path, *arguments)
        if path.name == "events_0001.h5":
            raise KeyboardInterrupt

    monkeypatch.setattr("hitpool.files.data_set.write_event_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "set", 200, processes=processes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_leaves_no_data_set_that_loads(tmp_path, sign):
    code = (
        "import sys, pathlib, signal\n"
        "from hitpool.simulation import generate\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it\n"
        "generate.EVENTS_PER_BATCH = generate.EVENTS_PER_FILE = 20\n"
        "generate.simulate(pathlib.Path(sys.argv[1]), 200_000, processes=2)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "set")], stderr=subprocess.DEVNULL)
    for _ in range(1200):
        if len(list(tmp_path.glob(".set.*.part/data/*.h5"))) >= 2:
            break
        time.sleep(0.05)
    assert run.poll() is None
    run.send_signal(sign)
    assert run.wait(60) != 0
    assert not (tmp_path / "set").exists()
    assert not list(tmp_path.rglob("metadata.yaml"))
    if sign == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []


def test_events_are_written_with_the_rights_of_a_new_folder(tmp_path):
    simulate(tmp_path / "set", 2, processes=1)
    (tmp_path / "plain").mkdir()
    assert os.stat(tmp_path / "set").st_mode == os.stat(tmp_path / "plain").st_mode


def test_generating_needs_no_torch_in_its_own_modules():
    folder = os.path.dirname(generate.__file__)
    for name in os.listdir(folder):
        if name.endswith(".py"):
            with open(os.path.join(folder, name)) as source:
                assert "import torch" not in source.read()
