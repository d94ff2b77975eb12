import pytest
import torch
from torch import Tensor

from hitpool.hepattn.sorted_hits import in_order, sorted_order


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    phi = torch.randint(-3, 4, (3, 50), generator=generator).float()  # with many equal values
    return {"hit_phi": phi, "hit_x": torch.rand(3, 50, generator=generator), "hit_valid": phi > -3}


def test_order_of_equal_values_is_that_of_argsort(inputs: dict) -> None:
    order = torch.argsort(inputs["hit_phi"], dim=-1)
    x = {"inputs": inputs, "hit_phi": inputs["hit_phi"].gather(1, order), "hit_valid": inputs["hit_valid"]}
    assert torch.equal(in_order(x, "hit", ["x"])["hit_x"], inputs["hit_x"].gather(1, order))
    already = {name: value.gather(1, order) for name, value in inputs.items()}
    again = torch.argsort(already["hit_phi"], dim=-1)
    x = {"inputs": already, "hit_phi": already["hit_phi"].gather(1, again)}
    assert torch.equal(in_order(x, "hit", ["x"])["hit_x"], already["hit_x"].gather(1, again))


def test_unsorted_fields_stay_as_they_are(inputs: dict) -> None:
    known = {"hit_valid": inputs["hit_valid"], "hit_embed": torch.zeros(3, 50, 8)}
    known["hit_strip_valid"] = inputs["hit_strip_valid"] = torch.ones(3, 9, dtype=torch.bool)  # of another input
    for x in (inputs, {"inputs": inputs, **known}, {"inputs": inputs, "hit_phi": inputs["hit_phi"]}):
        assert torch.equal(in_order(x, "hit", ["x"])["hit_x"], inputs["hit_x"])
    other_input = {"inputs": inputs | {"strip_phi": torch.zeros(3, 9)}, "strip_phi": torch.ones(3, 9)}
    assert torch.equal(in_order(other_input, "hit", ["x"])["hit_x"], inputs["hit_x"])


def test_other_contents_are_refused(inputs: dict) -> None:
    x = {"inputs": inputs, "hit_phi": inputs["hit_phi"].flip(-1)}
    with pytest.raises(ValueError, match=r"x\['hit_phi'\] \[3, 50\] is neither .* nor that in ascending order"):
        in_order(x, "hit", ["x"])
    with pytest.raises(ValueError, match=r"\['hit_phi', 'hit_x'\] are in x and in x\['inputs'\]"):
        in_order({"inputs": inputs, "hit_phi": inputs["hit_phi"], "hit_x": inputs["hit_x"]}, "hit", ["x"])


def test_op_passes_opcheck(inputs: dict) -> None:
    sort = inputs["hit_phi"].sort(-1).values
    torch.library.opcheck(sorted_order, (inputs["hit_phi"], sort, "hit_phi"))
