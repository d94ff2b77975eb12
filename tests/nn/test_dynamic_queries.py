"""A network whose queries begin at hits, with an encoder in windows."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from hitpool.nn import DecoderLayerConfig, Encoder, MaskFormer, MaskFormerDecoder
from hitpool.tasks import ObjectSeedTask


def make(build: Callable, tasks: Callable, queries: int = 3, window: int | None = 4, **options: object) -> MaskFormer:
    other = build(queries=queries)
    seeds = options.pop("seeds", queries)
    seed = ObjectSeedTask("track_seed", "hit", target_object="particle", order_field="x", dim=16, num_queries=seeds)
    config = DecoderLayerConfig(dim=16, num_heads=4)
    return MaskFormer(
        input_nets=other.input_nets,
        encoder=Encoder(2, 16, num_heads=4, window_size=window, window_wrap=True),
        decoder=MaskFormerDecoder(2, queries, config, dynamic_queries=options.pop("dynamic", True)),
        tasks=nn.ModuleList([seed, *tasks()][options.pop("first", 0) :]),
        dim=16,
        **{"input_sort_field": "phi"} | options,
    )


def test_losses_of_all_layers_train_the_seeds(build: Callable, tasks: Callable, batch: Callable) -> None:
    model = make(build, tasks)
    inputs, targets = batch([9, 4, 0], [3, 1, 0], slots=3)
    outputs = model.match(model(inputs), targets)
    assert "query_embed" not in outputs["final"]["track_seed"]
    losses = model.loss(outputs, targets)
    assert set(losses["final"]) == {"track_seed", "track_valid", "track_hit_valid", "parameter_regression"}
    assert "track_seed" not in losses["layer_0"]
    sum(value for layer in losses.values() for task in layer.values() for value in task.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert "seed_efficiency" in model.metrics(model.predict(outputs), targets)["track_seed"]


def test_a_query_is_matched_to_the_particle_of_its_hit(build: Callable, tasks: Callable, batch: Callable) -> None:
    model = make(build, tasks, queries=9)
    inputs, targets = batch([9], [9], slots=9)  # every hit is the seed of a query
    belongs = targets["particle_hit_valid"][0]
    matched = model.match(model(inputs), targets)
    for layer in ("layer_0", "final"):
        seed = matched[layer]["track_seed"]["query_seed"][0]
        for particle in belongs.any(-1).nonzero().flatten().tolist():
            hits = belongs[particle].nonzero().flatten().tolist()
            assert seed[particle] == min(hits, key=lambda hit: inputs["hit_x"][0, hit])


@pytest.mark.parametrize("window", [None, 4])
def test_order_of_the_hits_does_not_matter(build: Callable, tasks: Callable, batch: Callable, window: int) -> None:
    model = make(build, tasks, window=window).eval()
    (inputs, _), order = batch([9], [3], slots=3), torch.randperm(9)
    out = model(inputs)["final"]
    shuffled = model({name: tensor[:, order] for name, tensor in inputs.items()})["final"]
    expected = out["track_hit_valid"]["track_hit_logit"][..., order]
    torch.testing.assert_close(shuffled["track_hit_valid"]["track_hit_logit"], expected, atol=1e-5, rtol=1e-5)
    seeds = order[shuffled["track_seed"]["query_seed"]]
    assert seeds.tolist() == out["track_seed"]["query_seed"].tolist()


def test_padding_has_no_influence(build: Callable, tasks: Callable, batch: Callable) -> None:
    model = make(build, tasks).eval()
    inputs, _ = batch([9, 14], [3, 3], slots=3)
    alone = {name: tensor[:1, :9] for name, tensor in inputs.items()}
    both, one = model(inputs)["final"], model(alone)["final"]
    found = both["track_hit_valid"]["track_hit_logit"][:1, :, :9]
    torch.testing.assert_close(found, one["track_hit_valid"]["track_hit_logit"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 4}, "task track_seed has num_queries = 4 and the decoder 3"),
        ({"dynamic": False}, r"dynamic_queries is False and needs no ObjectSeedTask, got \['track_seed'\]"),
        ({"first": 1}, r"dynamic_queries is True and needs one ObjectSeedTask, got \[\]"),
        ({"input_sort_field": None}, "encoder.window_size needs an order of the hits; set input_sort_field"),
    ],
)
def test_parts_that_do_not_fit(build: Callable, tasks: Callable, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(build, tasks, **options)
