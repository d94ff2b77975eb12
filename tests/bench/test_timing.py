import time

import pytest

from hitpool.bench import timing


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the calls advance."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_times_are_those_of_the_calls(clock):
    seconds = timing.times({"short": lambda: clock(1e-5), "long": lambda: clock(0.25)}, repeat=4)
    assert seconds == {"short": pytest.approx([1e-5] * 4), "long": pytest.approx([0.25] * 4)}


def test_calls_take_turns(clock):
    order = []
    calls = {name: lambda name=name: (order.append(name), clock(1.0)) for name in "ab"}
    rounds = []
    timing.times(calls, repeat=3, on_round=rounds.append)
    assert "".join(order) == "ab" * (timing.WARM_UP + 3)
    assert rounds == [1, 2, 3, 4, 5]


def test_slow_alternatives_get_fewer_rounds(clock):
    calls = {"ours": lambda: clock(0.5), "fast": lambda: clock(1), "near": lambda: clock(1.4), "slow": lambda: clock(3)}
    seconds = timing.times(calls, repeat=20, alternatives=["fast", "near", "slow"])
    assert seconds["slow"] == [pytest.approx(3.0)]
    assert {name: len(values) for name, values in seconds.items()} == {"ours": 20, "fast": 20, "near": 20, "slow": 1}
    seconds = timing.times({"fast": lambda: clock(1e-3), "slow": lambda: clock(0.01)}, 20, ["fast", "slow"])
    assert len(seconds["slow"]) == 20  # it fits


def test_median(clock):
    durations = iter([9.0, 9.0, 1.0, 2.0, 7.0])
    assert timing.medians({"call": lambda: clock(next(durations))}, repeat=3) == {"call": pytest.approx(2.0)}
