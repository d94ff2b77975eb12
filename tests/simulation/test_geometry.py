import numpy as np
import pytest

from hitpool.simulation import muon_layers
from hitpool.simulation.geometry import GROUPS, MDT, MM, RPC, STGC, TGC

LAYERS = muon_layers()


def drift(code):
    return np.flatnonzero((LAYERS.code == code) & (LAYERS.technology == MDT))


def test_number_of_layers_of_each_station():
    mdt = {code: drift(code).size for code in (0, 1, 2, 3, 4, 5, 13, 14, 15, 17, 18, 20, 21)}
    assert list(mdt.values()) == [8, 8, 6, 6, 6, 6, 8, 8, 8, 6, 6, 6, 6]
    count = {t: int(np.sum(LAYERS.technology == t)) for t in (RPC, TGC, STGC, MM)}
    assert count == {RPC: 2 * 3 + 2 * 4 + 2 * 2, TGC: 2 * 7, STGC: 8, MM: 8}
    assert set(LAYERS.group) == set(range(GROUPS))


@pytest.mark.parametrize(
    ("code", "depths"),
    [
        (0, [4.786967, 4.812978, 4.838989, 4.865, 5.035, 5.061011, 5.087022, 5.113033]),
        (17, [13.912978, 13.938989, 13.965, 14.135, 14.161011, 14.187022]),
    ],
)
def test_depth_of_the_layers_by_hand(code, depths):
    rows = drift(code)
    np.testing.assert_allclose(LAYERS.position[rows], depths, atol=1e-9)
    assert list(LAYERS.layer[rows]) == list(range(1, rows.size + 1))


def test_neighbouring_tubes_touch_but_do_not_overlap():
    rows = drift(2)
    one, two = rows[:2]
    wire = LAYERS.channel_centre(one, 10)
    distance = np.hypot(LAYERS.channel_centre(two, 10) - wire, LAYERS.position[two] - LAYERS.position[one])
    assert distance == pytest.approx(0.030035, abs=1e-6)


def test_channels_and_chambers_are_numbered_without_gaps():
    for row in range(len(LAYERS)):
        channel = np.arange(LAYERS.channels[row])
        rows = np.full_like(channel, row)
        centre = LAYERS.channel_centre(rows, channel)
        assert np.array_equal(LAYERS.channel(rows, centre), channel)
        assert centre[0] - LAYERS.pitch[row] / 2 >= LAYERS.low[row] - 1e-9
        assert centre[-1] + LAYERS.pitch[row] / 2 <= LAYERS.high[row] + 1e-9
        assert LAYERS.high[row] - centre[-1] < 1.5 * LAYERS.pitch[row] + 1e-9
        chamber, number = LAYERS.chamber(rows, channel)
        assert set(chamber) == set(range(LAYERS.chambers[row]))
        for k in range(LAYERS.chambers[row]):
            assert np.array_equal(number[chamber == k], np.arange(np.sum(chamber == k)))


def test_table_is_shared_and_protected():
    assert muon_layers() is LAYERS
    with pytest.raises(ValueError, match="read-only"):
        LAYERS.position[0] = 1.0
    assert len(LAYERS.take(LAYERS.barrel)) == int(LAYERS.barrel.sum())
