"""A conversion goes on after an interruption, and notices what does not fit to what is there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hitpool.conversion import Cuts, convert, read_mapping

from .ntuples import HIT_COLUMNS, TRACK_COLUMNS, branches, check, expected, make_events, write_root

pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (folder / "data").glob("*.h5")}


@pytest.mark.usefixtures("small_parts")
def test_finished_files_are_kept_and_others_made_again(tmp_path, ntuples):
    files, events = ntuples
    output = tmp_path / "set"
    left, flow = expected(events, Cuts())
    convert(files, output, read_mapping(), Cuts(), 1)
    before = snapshot(output)
    lost, damaged, *kept = sorted(before)
    (output / "data" / lost).unlink()
    (output / "data" / damaged).write_bytes((output / "data" / damaged).read_bytes()[:3000])
    (output / "data" / f".{lost}.0a1b2c3d.part").write_bytes(b"half a file")
    (output / "metadata.yaml").unlink()
    steps = convert(files, output, read_mapping(), Cuts(), 2)
    assert [(step.events, step.tracks) for step in steps] == flow
    after = snapshot(output)
    assert after.keys() == before.keys()
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after[damaged] != before[damaged]
    assert not list((output / "data").glob(".*.part"))
    check(output, left)
    convert(files, output, read_mapping(), Cuts(), 1)  # nothing to do
    assert snapshot(output) == after


@pytest.mark.usefixtures("small_parts")
def test_a_corrupt_file_stops_and_its_repair_goes_on(tmp_path):
    events = make_events(400, seed=8)
    path = write_root(tmp_path / "a.root", branches(events, HIT_COLUMNS, TRACK_COLUMNS), baskets=2)
    whole = path.read_bytes()
    broken = bytearray(whole)
    begin = len(whole) * 3 // 4
    broken[begin : begin + 20_000] = bytes(20_000)  # in the baskets of the second half
    path.write_bytes(broken)
    with pytest.raises(ValueError, match=r"a.root is not readable as ROOT \(truncated or damaged\)"):
        convert([path], tmp_path / "set", read_mapping(), Cuts(), 1)
    before = snapshot(tmp_path / "set")
    assert before
    assert not (tmp_path / "set/metadata.yaml").exists()
    path.write_bytes(whole)
    convert([path], tmp_path / "set", read_mapping(), Cuts(), 1)
    after = snapshot(tmp_path / "set")
    assert {name: after[name] for name in before} == before
    check(tmp_path / "set", expected(events, Cuts())[0])


@pytest.mark.usefixtures("small_parts")
def test_files_can_be_left_out_and_added(tmp_path, ntuples):
    """Of three files the second turns out to be bad: it goes on without it, and with it when it is there again."""
    files, events = ntuples
    output = tmp_path / "set"
    by_file = [events[:90], events[90:140], events[140:]]
    convert(files[:2], output, read_mapping(), Cuts(), 1)
    check(output, expected(by_file[0] + by_file[1], Cuts())[0])
    before = snapshot(output)
    convert([files[2], files[0]], output, read_mapping(), Cuts(), 1)
    check(output, expected(by_file[2] + by_file[0], Cuts())[0])
    convert(files, output, read_mapping(), Cuts(), 1)
    check(output, expected(events, Cuts())[0])
    after = snapshot(output)
    assert {name: after[name] for name in before} == before


def test_a_file_that_has_changed_is_converted_again(tmp_path):
    path = tmp_path / "a.root"
    for seed in (1, 2):
        events = make_events(30 + seed, seed=seed)
        write_root(path, branches(events, HIT_COLUMNS, TRACK_COLUMNS))
        convert([path], tmp_path / "set", read_mapping(), Cuts(), 1)
        check(tmp_path / "set", expected(events, Cuts())[0])


def test_ctrl_c_and_the_same_command_again(tmp_path):
    events = make_events(1000, seed=9)
    path = write_root(tmp_path / "a.root", branches(events, HIT_COLUMNS, TRACK_COLUMNS))
    output = tmp_path / "set"
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # jobs in the background ignore it
        "from hitpool.conversion import job; from hitpool.cli import main; job.PART_BYTES = 60_000; "
        f"main(['data', 'convert', '--input', {str(path)!r}, '--output', {str(output)!r}, '--workers', '2'])"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, env=environment, text=True)
    while process.poll() is None and len(list(output.glob("data/*.h5"))) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on" in message
    before = snapshot(output)
    assert len(before) >= 3
    assert not (output / "metadata.yaml").exists()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment, timeout=120)
    after = snapshot(output)
    assert len(after) > len(before)
    assert {name: after[name] for name in before} == before
    check(output, expected(events, Cuts())[0])


def test_other_settings_need_another_folder(tmp_path, ntuples):
    files, _ = ntuples
    output = tmp_path / "set"
    convert(files[:2], output, read_mapping(), Cuts(), 1)
    with pytest.raises(FileExistsError, match=r"set holds a conversion with other cuts: max_hits: 600 there, null now"):
        convert(files[:2], output, read_mapping(), Cuts(max_hits=None), 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"other exists and is not a conversion"):
        convert(files, tmp_path / "other", read_mapping(), Cuts(), 1)
    for text in ("", "a: [", "cuts: {}"):
        (output / "conversion.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"set/conversion\.yaml is damaged: remove .*set to convert anew"):
            convert(files[:2], output, read_mapping(), Cuts(), 1)
