"""Sizes and field lists that a configuration leaves out."""

import copy
from importlib import resources

import pytest
import yaml

from hitpool import configuration
from hitpool.configuration.derived import derive
from hitpool.configuration.files import load_yaml

REPEATED = {"input_name", "input_size", "output_size", "num_queries", "target_object", "input_hit"}
SHORT = {
    "data": {"inputs": {"point": ["x", "y"]}, "targets": {"muon": ["pt", "eta"]}, "max_particles": 5},
    "model": {
        "model": {
            "class_path": "hitpool.nn.MaskFormer",
            "init_args": {
                "dim": 8,
                "input_nets": {
                    "class_path": "torch.nn.ModuleList",
                    "init_args": {
                        "modules": [
                            {
                                "class_path": "hitpool.nn.InputNet",
                                "init_args": {"net": {"class_path": "hitpool.nn.Dense"}},
                            }
                        ]
                    },
                },
                "encoder": {"class_path": "hitpool.nn.Encoder", "init_args": {"num_layers": 1}},
                "decoder": {
                    "class_path": "hitpool.nn.MaskFormerDecoder",
                    "init_args": {"num_decoder_layers": 1, "decoder_layer_config": {}},
                },
                "tasks": {
                    "class_path": "torch.nn.ModuleList",
                    "init_args": {
                        "modules": [
                            {
                                "class_path": "hitpool.tasks.WeightedPoolingObjectHitRegressionTask",
                                "init_args": {
                                    "name": "regression",
                                    "input_object": "query",
                                    "output_object": "track",
                                    "loss_weight": 1.0,
                                    "track_fit": {"class_path": "hitpool.fits.HelixFit", "init_args": {"field": 2.0}},
                                },
                            }
                        ]
                    },
                },
            },
        }
    },
}


def parts(config) -> tuple[dict, dict, dict, dict]:
    """Arguments of the network, the input network, the decoder and the last task."""
    network = config["model"]["model"]["init_args"]
    net, task = (network[key]["init_args"]["modules"][-1]["init_args"] for key in ("input_nets", "tasks"))
    return network, net, network["decoder"]["init_args"], task


def without_what_follows(node):
    """A configuration without what is the same as elsewhere in it, but for the width of the network itself."""
    if isinstance(node, list):
        return [without_what_follows(part) for part in node]
    if not isinstance(node, dict):
        return node
    gone = REPEATED | ({"dim"} if "input_nets" not in node else set())
    return {key: without_what_follows(value) for key, value in node.items() if key not in gone}


@pytest.mark.parametrize("name", ["muon.yaml", "muon_seed.yaml", "muon_query.yaml", "acts.yaml", "acts_busy.yaml"])
def test_packaged_configurations_resolve_to_the_same_without_what_follows(tmp_path, name):
    text = (resources.files("hitpool") / "configs" / name).read_text()
    (tmp_path / name).write_text(yaml.safe_dump(without_what_follows(load_yaml(text))))
    short, full = (
        configuration.resolve(configuration.interpret("fit", [f"--config={config}"]))
        for config in (tmp_path / name, name)
    )
    assert short == full


def test_everything_follows_from_the_data_and_the_width():
    config = copy.deepcopy(SHORT)
    derive(config)
    network, net, decoder, task = parts(config)
    assert network["target_object"] == task["target_object"] == "muon"
    assert (net["input_name"], net["fields"], net["net"]["init_args"]) == (
        *("point", ["x", "y"]),
        {"input_size": 2, "output_size": 8},
    )
    assert network["encoder"]["init_args"]["dim"] == decoder["decoder_layer_config"]["dim"] == task["dim"] == 8
    assert decoder["num_queries"] == 5
    assert (task["input_hit"], task["hit_fields"], task["fields"]) == ("point", ["x", "y"], ["pt", "eta"])
    assert task["track_fit"]["init_args"] == {"field": 2.0, "hit_fields": ["x", "y"]}


def test_what_is_given_stays():
    config = copy.deepcopy(SHORT)
    _, net, decoder, task = parts(config)
    net |= {"fields": ["y"]}
    decoder["num_queries"] = 7
    task |= {"hit_fields": ["x"], "fields": ["eta"], "input_constituent": "point"}
    derive(config)
    assert (net["fields"], net["net"]["init_args"]["input_size"]) == (["y"], 1)
    assert decoder["num_queries"] == 7
    assert (task["hit_fields"], task["fields"], task["track_fit"]["init_args"]["hit_fields"]) == (["x"], ["eta"], ["x"])
    assert "input_hit" not in task


def test_foreign_classes_and_unclear_names_are_left_alone():
    config = copy.deepcopy(SHORT)
    _, net, _, task = parts(config)
    net["net"] = {"class_path": "torch.nn.Linear", "init_args": {}}
    config["data"]["inputs"]["other"] = ["t"]
    derive(config)
    assert net == {"net": {"class_path": "torch.nn.Linear", "init_args": {}}}
    assert "hit_fields" not in task


@pytest.mark.parametrize("option", [["--data.max_particles", "4"], ["--data.max_particles=4"]])
def test_options_of_the_data_count(tmp_path, option):
    text = (resources.files("hitpool") / "configs" / "muon.yaml").read_text()
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(without_what_follows(load_yaml(text))))
    options = [f"--config={tmp_path / 'short.yaml'}", *option, "--data.targets.particle", "[truthMuon_pt]"]
    config = copy.deepcopy(configuration.interpret("fit", options).config)
    derive(config)
    _, _, decoder, _ = parts(config)
    assert (decoder["num_queries"], config["data"]["targets"]) == (4, {"particle": ["truthMuon_pt"]})
