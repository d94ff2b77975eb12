"""Each rule of the translation, on small pieces of configurations."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from hitpool.configuration.hepattn import translate, uses_hepattn
from hitpool.configuration.hepattn.parts import DATA_MODULES, PARTS, REPLACED, WRAPPERS
from hitpool.tasks.target_space import TargetSpace

from .translations import module, modules, translated


def network(**arguments: Any) -> tuple[dict[str, Any], str]:
    """Arguments of a translated MaskFormer, and the notices."""
    given = {"dim": 8, "decoder_layer_config": {"dim": 8}, "num_decoder_layers": 2, "num_queries": 3} | arguments
    config, lines = translated({"model": {"model": module("MaskFormer", **given)}})
    return config["model"]["model"]["init_args"], lines


def valid_task(name: str = "ObjectValidTask", **arguments: Any) -> dict[str, Any]:
    return module(name, "models.task", name="track_valid", losses={"object_bce": 1.0}, **arguments)


def test_what_does_not_name_hepattn_is_left_alone() -> None:
    config = {"model": {"model": {"class_path": "hitpool.nn.MaskFormer"}}, "trainer": {"default_root_dir": "x"}}
    assert not uses_hepattn(config)
    assert translate(config) == (config, [])
    assert translate(config)[0] is config


@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_class_of_the_table_exists(name: str) -> None:
    package, ours = PARTS[name].ours.rsplit(".", 1)
    assert isinstance(getattr(importlib.import_module(package), ours), type)


def test_the_documented_table_is_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "hepattn.md"
    if not page.is_file():
        pytest.skip("no docs here: they are not in the source distribution")
    rows = [line.split("|")[1:4] for line in page.read_text().split("### Classes")[1].splitlines() if "|" in line]
    documented = {name: row[1].strip(" `") for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert documented.keys() == {*PARTS, *DATA_MODULES, *WRAPPERS, *REPLACED}
    assert {name: documented[name] for name in PARTS} == {name: part.ours for name, part in PARTS.items()}
    listed = page.read_text().split("### Arguments")[1]
    for part in PARTS.values():
        for argument in (*part.only, *(part.hints if part.ours.startswith("hitpool.nn.MaskFormer") else ())):
            assert f"`{argument}" in listed


def test_what_a_saved_configuration_spells_out_changes_nothing() -> None:
    decoder = module("MaskFormerDecoder", num_queries=3, num_decoder_layers=2, decoder_layer_config={"dim": 8})
    before, _ = network(decoder=decoder, input_nets=modules(module("InputNet", input_name="hit")))
    decoder["init_args"] |= {"dynamic_queries": False, "dynamic_query_source": "hit", "debug": False}
    decoder["init_args"] |= {"unified_decoding": False, "intermediate_tasks": True}
    nets = modules(module("InputNet", input_name="hit", input_dtype=None))
    after, lines = network(decoder=decoder, input_nets=nets, dynamic_query_source="hit", sorter=None)
    assert after == before
    assert "differs" not in lines
    nets["init_args"]["modules"][0]["init_args"]["input_dtype"] = "float32"
    assert "model.model.input_nets.0: input_dtype = float32" in network(input_nets=nets)[1]


@pytest.mark.parametrize("place", ["models", "models.encoder", "components"])
def test_classes_are_found_by_name(place: str) -> None:
    encoder, lines = translated(module("Encoder", place, num_layers=2, dim=8))
    assert encoder == {"class_path": "hitpool.nn.Encoder", "init_args": {"num_layers": 2, "dim": 8}}
    assert not lines


def test_a_class_without_equal_is_named_with_its_path_and_those_of_its_kind() -> None:
    config = {"model": {"model": {"class_path": "hepattn.models.MaskFormer", "init_args": {"dim": 8}}}}
    config["model"]["model"]["init_args"]["tasks"] = modules(valid_task(), module("HitFilterTask", "models.task"))
    with pytest.raises(ValueError, match=r"^model\.model\.tasks\.1\.class_path: ") as error:
        translate(config)
    _, known = str(error.value).split("no equal of hepattn.models.task.HitFilterTask; it knows ")
    assert known.split(", ") == sorted(name for name in PARTS if name.endswith("Task"))
    with pytest.raises(ValueError, match=r"hepattn\.models\.HitFilter; it knows ") as error:
        translate(module("HitFilter"))
    assert all(name in str(error.value) for name in PARTS)
    with pytest.raises(ValueError, match=r"data\.class_path: .*TrackMLDataModule.*AtlasMuonDataModule"):
        translate({"data": module("TrackMLDataModule", "experiments.trackml.data")})


def test_arguments_that_nobody_knows_are_left_to_the_parser() -> None:
    encoder, _ = translated(module("Encoder", dim=8, number_of_layers=2))
    assert encoder["init_args"] == {"dim": 8, "number_of_layers": 2}


def test_decoder_settings_stand_in_two_places() -> None:
    settings = {"num_queries": 3, "num_decoder_layers": 2, "decoder_layer_config": {"dim": 8}}
    expected = {"class_path": "hitpool.nn.MaskFormerDecoder", "init_args": {**settings, "mask_attention": False}}
    beside, _ = network(**settings, use_attn_masks=False)
    inside, _ = network(decoder={**settings, "mask_attention": False})
    as_class, _ = network(decoder=module("MaskFormerDecoder", **settings, mask_attention=False))
    assert beside["decoder"] == inside["decoder"] == as_class["decoder"] == expected
    assert not set(beside) & {"use_attn_masks", *settings}
    with pytest.raises(ValueError, match=r"model\.model\.num_queries is 3 and model\.model\.decoder\.num_queries is 4"):
        network(decoder={"num_queries": 4})


@pytest.mark.parametrize(
    ("model", "layer", "expected"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_mask_attention_needs_all_of_its_switches(model: bool, layer: bool, expected: bool) -> None:
    arguments, _ = network(use_attn_masks=model, decoder_layer_config={"dim": 8, "mask_attention": layer})
    assert arguments["decoder"]["init_args"]["mask_attention"] is expected
    assert arguments["decoder"]["init_args"]["decoder_layer_config"] == {"dim": 8}


def test_query_masks_count_only_if_the_decoder_uses_them() -> None:
    def mask_queries(**arguments: Any) -> tuple[bool, str]:
        network_arguments, lines = network(tasks=modules(valid_task(mask_queries=True)), **arguments)
        return network_arguments["tasks"]["init_args"]["modules"][0]["init_args"]["mask_queries"], lines

    assert mask_queries(use_query_masks=True) == (True, "")
    assert mask_queries(decoder={"use_query_masks": True}) == (True, "")
    for arguments in ({"use_query_masks": False}, {"decoder": {"mask_attention": True}}):
        masked, lines = mask_queries(**arguments)
        assert not masked
        assert lines == "without meaning here, left out: model.model.tasks.0: mask_queries"


def test_tasks_and_dim_may_be_those_of_the_decoder() -> None:
    settings = {"num_queries": 3, "num_decoder_layers": 2, "decoder_layer_config": {"dim": 16}}
    config = module("MaskFormer", decoder={**settings, "tasks": modules(valid_task())})
    ours, _ = translated(config)
    assert ours["init_args"]["dim"] == 16
    assert [task["class_path"] for task in ours["init_args"]["tasks"]["init_args"]["modules"]] == [
        "hitpool.tasks.ObjectValidTask"
    ]


def test_settings_of_attention_and_dense_layers() -> None:
    attention = {"num_heads": 4, "attn_type": "flash", "bias": False}
    dense = {"hidden_dim_scale": 3, "dropout": 0.2, "activation": {"class_path": "torch.nn.SiLU"}}
    expected = {"dim": 8, "num_heads": 4, "hidden_dim_scale": 3, "dropout": 0.2}
    encoder, lines = translated(
        module("Encoder", dim=8, layer_kwargs={"attn_kwargs": attention, "dense_kwargs": dense})
    )
    assert encoder["init_args"] == expected
    assert lines == (
        "without meaning here, left out: layer_kwargs.attn_kwargs: attn_type\n"
        "hitpool's network differs, left out: layer_kwargs.attn_kwargs: bias = false"
    )
    arguments, _ = network(decoder_layer_config={"dim": 8, "attn_kwargs": attention, "dense_kwargs": dense})
    assert arguments["decoder"]["init_args"]["decoder_layer_config"] == expected
    with pytest.raises(ValueError, match=r"attn_kwargs does not accept 'heads'; hitpool has num_heads, dropout"):
        translate(module("Encoder", attn_kwargs={"heads": 4}))
    with pytest.raises(ValueError, match=r"dense_kwargs\.dropout is 0\.2, elsewhere in the layer 0\.1"):
        translate(module("Encoder", attn_kwargs={"dropout": 0.1}, dense_kwargs={"dropout": 0.2}))


def test_hints_are_one_line_and_values_that_hitpool_has_too_are_none() -> None:
    arguments, lines = network(
        input_sort_field="phi",
        sorter=module("Sorter", "utils.sorter", input_sort_field="phi"),
        encoder=module("Encoder", dim=8, attn_type="flash-varlen", hybrid_norm=False, value_residual=True),
        matcher=module("Matcher", default_solver="scipy", n_jobs=16),
        pooling=None,
        unified_decoding=False,
    )
    assert lines.splitlines() == [
        "without meaning here, left out: model.model: input_sort_field, sorter; model.model.encoder: attn_type;"
        " model.model.matcher: default_solver, n_jobs",
        "hitpool's network differs, left out: model.model.encoder: value_residual = true",
    ]
    assert arguments["matcher"] == {"class_path": "hitpool.nn.Matcher", "init_args": {}}
    assert set(arguments) == {"dim", "encoder", "decoder", "matcher"}


@pytest.mark.parametrize("form", ["upstream", "fork"])
def test_windows_of_the_encoder_are_taken_over_with_their_order(form: str) -> None:
    upstream = {"sorter": module("Sorter", "utils.sorter", input_sort_field="phi")}
    order = {"upstream": upstream, "fork": {"input_sort_field": "phi"}}[form]
    encoder = module("Encoder", num_layers=2, dim=8, attn_type="flash", window_size=64, window_wrap=True)
    arguments, lines = network(encoder=encoder, **order)
    assert arguments["input_sort_field"] == "phi"
    assert "sorter" not in arguments
    own = {"num_layers": 2, "dim": 8, "window_size": 64, "window_wrap": True}
    assert arguments["encoder"] == {"class_path": "hitpool.nn.Encoder", "init_args": own}
    assert lines == "without meaning here, left out: model.model.encoder: attn_type"


def test_windows_without_an_order_are_left_out_and_said_to_differ() -> None:
    encoder = module("Encoder", num_layers=2, dim=8, window_size=64, window_wrap=False)
    arguments, lines = network(encoder=encoder)
    assert arguments["encoder"]["init_args"] == {"num_layers": 2, "dim": 8}
    assert lines == "hitpool's network differs, left out: model.model.encoder: window_size = 64"
    assert encoder["init_args"]["window_size"] == 64


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            module("MaskFormer", unified_decoding=True),
            r"^unified_decoding is true, but hitpool decodes queries.*: set it to false$",
        ),
        (module("MaskFormer", decoder={"dynamic_queries": True}), r"^decoder\.dynamic_queries is true"),
        (module("MaskFormer", decoder={"local_strided_attn": True}), r"^decoder\.local_strided_attn is true"),
        (module("Dense", input_size=3, final_activation={"class_path": "torch.nn.ReLU"}), r"^final_activation is"),
        (valid_task("ObjectClassificationTask", dim=8, num_classes=3), r"^num_classes is 3, .*: set it to 1$"),
        (module("ObjectHitMaskTask", input_hit="hit", logit_scale=2.0), r"^logit_scale is 2\.0, .*: set it to 1\.0$"),
        (
            module("ObjectHitMaskTask", input_hit="hit", constituent_net=module("Dense", input_size=8)),
            r"^constituent_net is hepattn\.models\.Dense, .* of its own, dim wide: remove it$",
        ),
    ],
)
def test_values_that_change_the_computation_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        translate(config)


def test_both_names_of_the_valid_task() -> None:
    ours = {"class_path": "hitpool.tasks.ObjectValidTask"}
    ours["init_args"] = {"name": "track_valid", "losses": {"object_bce": 1.0}, "dim": 8}
    for task in (valid_task(dim=8), valid_task("ObjectClassificationTask", dim=8, num_classes=1, net=None)):
        assert translated(task) == (ours, "")
    net = module("Dense", input_size=8, output_size=1)
    assert translated(valid_task("ObjectClassificationTask", net=net))[0]["init_args"] == ours["init_args"]
    for other in ({"output_size": 2}, {"output_size": 1, "hidden_layers": [4]}):
        with pytest.raises(ValueError, match=r"^net: .* give dim instead of net"):
            translate(valid_task("ObjectClassificationTask", net=module("Dense", input_size=8, **other)))


@pytest.mark.parametrize(
    ("arguments", "threshold"),
    [
        ({"input_hit": "hit"}, None),  # hitpool's default, 0.1
        ({"input_constituent": "hit"}, 0.5),
        ({"input_constituent": "hit", "pred_threshold": 0.3}, 0.3),
        ({"input_constituent": "hit", "mask_attention_threshold": 0.2, "pred_threshold": 0.3}, 0.2),
        ({"input_hit": "hit", "mask_attention_threshold": 0.2}, 0.2),
    ],
)
def test_threshold_of_mask_attention(arguments: dict[str, Any], threshold: float | None) -> None:
    ours, _ = translated(module("ObjectHitMaskTask", "models.task", **arguments))
    assert ours["init_args"].get("mask_attn_threshold") == threshold
    assert "mask_attention_threshold" not in ours["init_args"]


def test_regression_has_the_defaults_of_its_code_base() -> None:
    fork, _ = translated(module("ObjectRegressionTask", "models.task", dim=8))
    assert fork["init_args"] == {"dim": 8}
    upstream, _ = translated(module("ObjectRegressionTask", "models.task", dim=8, cost_weight=1.0))
    assert upstream["init_args"] == {"dim": 8, "cost_weight": 1.0, "has_intermediate_loss": True}
    final, _ = translated(
        module("ObjectRegressionTask", "models.task", dim=8, cost_weight=1.0, has_intermediate_loss=False)
    )
    assert final["init_args"]["has_intermediate_loss"] is False


@pytest.mark.parametrize("inverse", [False, True])
def test_normalised_pt_is_learned_in_its_unit_from_pt(inverse: bool) -> None:
    arguments = {"input_hit": "hit", "dim": 8, "fields": ["truthMuon_eta", "truthMuon_pt_norm"]}
    if inverse:
        arguments["inverse_fields"] = ["truthMuon_pt_norm"]
    task = module("WeightedPoolingObjectHitRegressionTask", "models.task", **arguments)
    data = {"targets": {"particle": ["truthMuon_pt", "truthMuon_pt_norm", "truthMuon_eta"]}}
    config, lines = translated({"data": data, "model": {"model": module("MaskFormer", dim=8, tasks=modules(task))}})
    assert config["data"]["targets"] == {"particle": ["truthMuon_pt", "truthMuon_eta"]}
    assert "replaced: truthMuon_pt_norm -> truthMuon_pt in units of 200 GeV" in lines
    ours, _ = translated(task)
    assert ours["init_args"]["fields"] == ["truthMuon_eta", "truthMuon_pt"]
    options = {name: ours["init_args"].get(name) for name in ("fields", "inverse_fields")}
    space = TargetSpace(**options, standardize=ours["init_args"]["standardize"])
    learned = space.encode(torch.tensor([0.7, 50.0])).tolist()
    assert learned == pytest.approx([0.7, 200 / 50 if inverse else 50 / 200])


def test_plain_lists_of_modules_are_module_lists() -> None:
    net = module("InputNet", input_name="hit", fields=["r"])
    plain, _ = network(tasks=[valid_task()], input_nets=[net])
    listed, _ = network(tasks=modules(valid_task()), input_nets=modules(net))
    inside, _ = network(decoder={"tasks": [valid_task()]}, input_nets=[net])
    assert plain == listed
    assert plain["tasks"] == inside["tasks"]


def frozen_task(name: str = "parameter_regression", **arguments: Any) -> dict[str, Any]:
    return module("FrozenEncoderRegressionTask", "models.task", name=name, input_hit="hit", dim=8, **arguments)


def pooling(**arguments: Any) -> dict[str, Any]:
    return module("WeightedPoolingObjectHitRegressionTask", "models.task", **{"input_hit": "hit", "dim": 8} | arguments)


def freezing(*tasks: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The translated model section of a network with these tasks, and the notices."""
    given = {"dim": 8, "decoder_layer_config": {"dim": 8}, "num_decoder_layers": 2, "num_queries": 3, "tasks": [*tasks]}
    config, lines = translated({"model": {"model": module("MaskFormer", **given)}})
    return config["model"], lines


@pytest.mark.parametrize(
    ("options", "frozen"),
    [
        ({}, ["input_nets", "encoder"]),
        ({"freeze_all": False}, ["input_nets", "encoder"]),
        ({"freeze_all": True}, ["input_nets", "encoder", "decoder", "tasks.0", "tasks.2"]),
    ],
)
def test_the_task_that_freezes_the_model_becomes_settings_of_the_training(
    options: dict[str, Any], frozen: list[str]
) -> None:
    task = frozen_task(checkpoint_path="base.ckpt", dropout=0.3, **options)
    model, lines = freezing(valid_task(), task, valid_task())
    assert (model["network_checkpoint"], model["frozen"]) == ("base.ckpt", frozen)
    pooled, _ = translated(pooling(name="parameter_regression", dropout=0.3))
    assert model["model"]["init_args"]["tasks"]["init_args"]["modules"][1] == pooled
    assert "FrozenEncoderRegressionTask -> a pooled regression, model.frozen and model.network_checkpoint" in lines


def test_tasks_that_freeze_the_model_agree_on_one_checkpoint() -> None:
    with pytest.raises(ValueError, match=r"^model.model.tasks.0.checkpoint_path: expected the checkpoint of a hitpool"):
        freezing(frozen_task())
    one, same, other = (frozen_task(checkpoint_path=f"{name}.ckpt", freeze_all=True) for name in ("a", "a", "b"))
    assert freezing(valid_task(), one, same)[0]["frozen"] == ["input_nets", "encoder", "decoder", "tasks.0"]
    with pytest.raises(ValueError, match=r"model.model.tasks: expected one checkpoint_path, got a.ckpt and b.ckpt"):
        freezing(one, other)


def test_one_argument_of_the_wide_head_brings_the_others_and_the_width() -> None:
    seed, _ = translated(pooling())
    assert seed["init_args"] == {"input_hit": "hit", "dim": 8, "activation": "swiglu"}
    wide, _ = translated(pooling(dropout=0.3))
    head = {"dropout": 0.3, "regression_num_layers": 3, "regression_hidden_dim": 36}
    head |= {"layer_norm": "hidden", "head_activation": "relu"}
    assert wide["init_args"] == {"input_hit": "hit", "dim": 8, "pooled_dim": 8, "activation": "swiglu", **head}
    assert translated(pooling(dropout=0.3, pooled_dim=4))[0]["init_args"]["pooled_dim"] == 4


@pytest.mark.parametrize("name", ["WeightedPoolingObjectHitRegressionTask", "ObjectHitMaskTask"])
def test_hits_have_one_name(name: str) -> None:
    for option in ("input_hit", "input_constituent"):
        ours, _ = translated(module(name, "models.task", dim=8, **{option: "strip"}))
        assert ours["init_args"]["input_hit"] == "strip"
        assert "input_constituent" not in ours["init_args"]
    for both in ({}, {"input_hit": "hit", "input_constituent": "hit"}):
        with pytest.raises(ValueError, match="task x: set either input_hit or input_constituent"):
            translate(module(name, "models.task", name="x", **both))


def test_the_task_that_works_inside_hepattn_is_read_as_hitpools_own() -> None:
    inside = pooling(name="x", dropout=0.3)
    expected, _ = translated(inside)
    expected["init_args"]["activation"] = "silu"
    inside["class_path"] = "hitpool.hepattn.tasks.WeightedPoolingObjectHitRegressionTask"
    assert translated(inside)[0] == expected


def test_dense_and_position_encoding_have_the_defaults_of_hepattn() -> None:
    assert translated(module("Dense", input_size=8))[0]["init_args"] == {"input_size": 8, "output_size": 8}
    posenc, _ = translated(module("PositionEncoder", "models.posenc", dim=8, fields=["r"], base=50))
    assert posenc["init_args"] == {"dim": 8, "fields": ["r"], "alpha": 1000.0, "base": 50}
