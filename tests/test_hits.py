"""The hits of a batch: one tensor, and a mapping by name."""

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

from hitpool.hits import Hits
from hitpool.nn.fields import stack_fields


@pytest.fixture
def hits() -> Hits:
    valid = torch.tensor([[True, True, False], [True, False, False]])
    return Hits("hit", ["x", "y", "z"], torch.randn(3, 2, 3) * valid, valid)


def test_all_fields_are_no_copy(hits: Hits) -> None:
    assert stack_fields(hits, "hit", ["x", "y", "z"], hits.valid).data_ptr() == hits.table.data_ptr()


@pytest.mark.parametrize("fields", [["x", "y", "z"], ["z", "x"]])
def test_it_gives_what_its_entries_give(hits: Hits, fields: list[str]) -> None:
    named = dict(hits)
    assert set(named) == {"hit_x", "hit_y", "hit_z", "hit_valid"}
    assert len(hits) == 4
    assert torch.equal(stack_fields(hits, "hit", fields), stack_fields(named, "hit", fields, hits.valid))
    with pytest.raises(KeyError, match=r"hit has no fields \['w'\]"):
        stack_fields(hits, "hit", [*fields, "w"])


def test_it_travels_whole(hits: Hits) -> None:
    moved, _ = move_data_to_device((hits, {}), torch.device("meta"))
    assert isinstance(moved, Hits)
    assert moved.table.device.type == moved.valid.device.type == "meta"
    assert hits.to(torch.float64).valid.dtype == torch.bool
