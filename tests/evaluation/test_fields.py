"""Which fields are known quantities, and what is compared of the others."""

from hitpool.evaluation.fields import all_fields, own_resolutions
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask

TASK = WeightedPoolingObjectHitRegressionTask(
    name="parameters",
    input_hit="hit",
    input_object="query",
    output_object="track",
    target_object="particle",
    hit_fields=["theta", "eta"],
    fields=["pt", "eta", "phi", "q", "qpt", "energy", "plane", "z0"],
    inverse_fields=["pt", "energy"],
    periodic_fields=["phi", "plane"],
    loss_weight=1.0,
    dim=8,
)


def test_known_quantities_keep_their_definition_whatever_the_name_of_the_field() -> None:
    own = own_resolutions([TASK], {"z0": "mm", "qpt": "1/GeV"})
    assert set(own) == {"energy", "plane", "z0"}
    assert own["energy"].relative
    assert not own["z0"].relative
    assert own["z0"].unit == "mm"
    assert abs(own["plane"].residual(3.1, -3.1)) < 0.1
    fields = all_fields(TASK.fields, [TASK])
    assert {quantity: fields[quantity] for quantity in fields} == {field: field for field in TASK.fields}
