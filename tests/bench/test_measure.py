import pytest
import torch

from hitpool.bench import floor, measure, ways
from hitpool.bench.cases import Case
from hitpool.ops import reference

CASE = Case("", 2, 2, 30, 4)


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def only(monkeypatch):
    """Replaces the ways by ours and those given."""

    def replace(**others):
        monkeypatch.setattr(ways, "WAYS", {ways.OURS: ways.WAYS[ways.OURS], **others})

    return replace


def run(case=CASE, bandwidth=None, threads=(1,)):
    steps = []
    rows = list(measure.time_case(case, tuple(ways.WAYS), threads, 2, bandwidth, steps.append))
    assert "round 1" in steps
    assert {row.threads for row in rows} == set(threads)
    return {(row.mode, row.way): row for row in rows}


def test_both_modes_are_timed(only):
    only(expand=ways.WAYS["expand"])
    rows = run()
    names = {ways.OURS, "expand", measure.FLOOR, measure.FLOOR_BY_TRACK}
    assert set(rows) == {(mode, way) for mode in ("forward", "forward + backward") for way in names}
    assert all(row.seconds > 0 and row.rounds == 2 and not row.note for row in rows.values())
    assert {mode for mode, _ in run(Case("", 2, 2, 30, 4, backward=False))} == {"forward"}


def test_every_number_of_threads_is_timed(only):
    only()
    rows = list(measure.time_case(CASE, tuple(ways.WAYS), (1, 2), 2, None, lambda text: None))
    assert [row.threads for row in rows if row.way == ways.OURS] == [1, 1, 2, 2]


def test_what_is_not_timed_says_why(only):
    def broken(*inputs):
        raise NotImplementedError("no such thing\nat all")

    only(
        wrong=ways.Way(lambda *inputs: 2 * reference.weighted_pool(*inputs)),
        broken=ways.Way(broken),
        large=ways.Way(reference.weighted_pool, (1e15, 0), (1e15, 0)),
    )
    rows = run()
    for mode in ("forward", "forward + backward"):
        assert rows[mode, "wrong"].note.startswith("wrong: ")
        assert rows[mode, "broken"].note == "failed: NotImplementedError: no such thing"
        assert rows[mode, "large"].note.startswith("not run: needs about ")
        assert all(rows[mode, way].seconds is None for way in ("wrong", "broken", "large"))
        assert rows[mode, ways.OURS].seconds > 0


def test_wrong_results_of_ours_are_an_error(monkeypatch):
    monkeypatch.setattr(ways, "WAYS", {ways.OURS: ways.Way(lambda *inputs: 2 * reference.weighted_pool(*inputs))})
    with pytest.raises(AssertionError, match="result differs from the reference"):
        run()


def test_without_a_compiler_there_is_no_floor(only, monkeypatch):
    only()
    monkeypatch.setenv("CXX", "no-such-compiler")
    floor._library.cache_clear()
    rows = run()
    floor._library.cache_clear()
    for name in (measure.FLOOR, measure.FLOOR_BY_TRACK):
        row = rows["forward", name]
        assert (row.seconds, row.note) == (None, "no C++ compiler found: set CXX")


def test_the_floor_of_a_gpu_is_that_of_its_bandwidth(only):
    only()
    rows = run(bandwidth=1e6)
    outputs = 2 * 2 * 4 * 4 * 4
    forward = rows["forward", measure.FLOOR].seconds
    step = rows["forward + backward", measure.FLOOR].seconds
    assert step - forward == pytest.approx(1e-6 * (outputs + 2 * 2 * 30 * 4 + 2 * 30 * 4 * 4))
