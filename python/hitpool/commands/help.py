"""What `hitpool fit --help` and its relatives show."""

from __future__ import annotations

import argparse
import pydoc
from collections.abc import Iterator
from typing import Any, cast

from jsonargparse import ArgumentParser

from hitpool.configuration.files import find, read
from hitpool.configuration.merging import inside
from hitpool.configuration.subcommands import USES
from hitpool.training.samples import Samples

EXAMPLES = {
    "fit": """\
  hitpool fit                                              # simulates 67,000 events and trains on them
  hitpool fit --data.train_dir events/train --data.val_dir events/val --data.test_dir events/test
  hitpool fit --name quick --checkpoint last --trainer.max_epochs 4    # goes on where it stopped
""",
    "validate": "  hitpool validate --name quick --checkpoint last\n",
    "test": "  hitpool test --name quick --data.test_dir other/events\n",
    "predict": "  hitpool predict --name quick --output predictions.parquet\n",
}
OUTPUT = """\
  --output FILE                table to write: .h5, .parquet or .root (predictions.h5 in the run directory)
  --format acts                also write the tracks for the examples of ACTS, into a folder acts beside the table
"""
SIMULATION = """\

events to simulate, if there are no data folders
  --simulate.folder DIR        where they are or go ({samples.folder})
  --simulate.train NUMBER      also val and test ({samples.train}, {samples.val}, {samples.test})
  --simulate.seed NUMBER       seed of the simulation ({samples.seed})
"""
TRAINING = """\

training
  --trainer.max_epochs NUMBER  epochs ({trainer[max_epochs]})
  --trainer.max_time DD:HH:MM:SS
                               stop after this time
  --trainer.gradient_clip_val NUMBER
                               largest norm of the gradient ({trainer[gradient_clip_val]})
  --trainer.check_val_every_n_epoch NUMBER
                               epochs between two validations (1)
  --trainer.fast_dev_run true  one batch of everything, nothing is written
  --model.lrs_config.max RATE  highest learning rate ({model[lrs_config][max]}); also initial, end, pct_start, weight_decay
  --model.optimizer NAME       AdamW or Lion ({model[optimizer]})
  --model.regression_checkpoint FILE
                               start from the pooled regression of another training
  --seed_everything NUMBER     seed of weights and order ({seed_everything})

model
  --model.model.dim NUMBER     features of a hit and of a track; every part has its own dim to set alike ({model[model][init_args][dim]})
  --model.model.encoder.num_layers NUMBER
                               layers of the encoder ({model[model][init_args][encoder][init_args][num_layers]})
  --model.model.encoder.dropout SHARE
                               dropout of the encoder
  --model.model.decoder.num_decoder_layers NUMBER
                               layers of the decoder ({model[model][init_args][decoder][init_args][num_decoder_layers]})
  --model.model.tasks.2.loss_weight NUMBER
                               weight of the regression; entries of lists are changed by their index
"""  # noqa: E501  (fields of the configuration)
COMMON = """\
usage: hitpool {command} [options]

{use}

examples
{examples}
run
  -c, --config FILE            configuration, or the name of a packaged one: muon.yaml (the default), muon_seed.yaml,
                               muon_query.yaml, acts.yaml, acts_busy.yaml; one of hepattn; one with tasks alone.
                               May be repeated.
  --name NAME                  name of the training; its runs are in <runs>/<name>/version_<k> ({name})
  --runs DIR                   folder of all runs (runs)
  --checkpoint FILE            checkpoint; 'last' and 'best' are those of the most recent run of that name
  --trust                      let the configuration of a checkpoint or of a run name classes of anybody, which may run
                               any code
  --print_config               show the whole configuration and end
{output}
data
  --data.train_dir DIR         data set; also val_dir and test_dir
  --data.num_train NUMBER      use some of the events; also num_val and num_test (-1: all)
  --data.batch_size NUMBER     most events of a batch ({data[batch_size]})
  --data.num_workers NUMBER    processes that read ahead ({data[num_workers]})
  --data.max_particles NUMBER  most particles of an event; model.model.decoder.num_queries is to be the same ({data[max_particles]})
{simulation}{training}
machine
  --trainer.accelerator NAME   cpu, gpu, auto (auto)
  --trainer.devices NUMBER     processes or GPUs (auto)
  --trainer.strategy NAME      how several of them share the work: ddp, ... (auto)
  --trainer.precision NAME     32-true, bf16-mixed, 16-mixed, 64-true (32-true)

help
  --help=PART                  options of a part: trainer, trainer.callbacks, data, simulate, model, model.input_nets,
                               model.encoder, model.decoder, model.tasks, model.tasks.2
  --help_all                   all options
  --debug                      show the traceback of an error
"""  # noqa: E501
PARTS = {
    "trainer": "lightning.pytorch.Trainer",
    "data": "hitpool.data.HitDataModule",
    "model": "hitpool.training.TrackingModule",
    "simulate": "hitpool.training.Samples",
}
LONGEST_DEFAULT = 60  # characters of a value that is shown as the default


def overview(command: str) -> str:
    """Text of `--help`: what people change.

    Args:
        command: fit, validate, test or predict.
    """
    default = read(find("muon.yaml")).content
    fit = command == "fit"
    return COMMON.format(
        output=OUTPUT if command == "predict" else "",
        command=command,
        use=USES[command],
        examples=EXAMPLES[command],
        simulation=SIMULATION.format(samples=Samples()) if fit else "",
        training=TRAINING.format(**default) if fit else "",
        **default,
    )


def of_part(path: str, config: dict[str, Any]) -> str:
    """Text of `--help=PART`: all options of a part, with the values of a configuration as defaults.

    Args:
        path: Keys with dots, such as `data`, `model.tasks` or `trainer.callbacks.0`.
        config: The configuration.

    Raises:
        ValueError: If the configuration has no such part.
    """
    parser = ArgumentParser(usage=argparse.SUPPRESS, add_help=False)
    for key, kind, values in _classes(path, config):
        parser.add_class_arguments(kind, key, fail_untyped=False)
        known = set(parser.get_defaults().keys())
        shown = {f"{key}.{name}": value for name, value in values.items() if len(repr(value)) <= LONGEST_DEFAULT}
        parser.set_defaults({name: value for name, value in shown.items() if name in known})
    return parser.format_help()


def _classes(path: str, config: dict[str, Any]) -> Iterator[tuple[str, type, dict[str, Any]]]:
    """Key, class and arguments of what lies at a path."""
    first, *rest = path.split(".")
    if first not in PARTS:
        raise ValueError(f"--help={path}: expected a part that begins with {', '.join(PARTS)}")
    if not rest:
        yield first, cast(type, pydoc.locate(PARTS[first])), config.get(first) or {}
        return
    node, keys = config.get(first) or {}, [first]
    for key in rest:
        node = inside(node, key)
        if isinstance(node, dict) and key not in node and "model" in node:  # model.tasks is model.model.tasks
            keys.append("model")
            node = inside(node["model"], key)
        try:
            node = node[int(key)] if isinstance(node, list) else node[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise ValueError(f"--help={path}: the configuration has no '{key}' there") from None
        keys.append(key)
    inner = inside(node, "0")
    entries = {f"{'.'.join(keys)}.{i}": entry for i, entry in enumerate(inner)} if isinstance(inner, list) else {}
    entries = entries or {".".join(keys): node}
    for key, entry in entries.items():
        kind = pydoc.locate(entry["class_path"]) if isinstance(entry, dict) and "class_path" in entry else None
        if kind is None:
            raise ValueError(f"--help={path}: expected the path of a class, got that of a value; --help_all shows all")
        yield key, cast(type, kind), entry.get("init_args") or {}
