"""The first configuration as text, with comments."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import yaml

from hitpool.draft.draft import Draft

EVENTS_SEEN, FEWEST_EPOCHS, MOST_EPOCHS = 400_000, 5, 50
WIDTH = 110


def configuration(draft: Draft, name: str) -> str:
    """Writes the configuration.

    Args:
        draft: What a look at the data gave.
        name: Name of the training.

    Returns:
        YAML.
    """
    return f"""\
# Written by 'hitpool init' from {draft.folders.train}. Change what you like; what is left out follows from the rest.
seed_everything: 42
name: {_flow(name)}

data:
{_folders(draft)}
  batch_size: 100
  max_particles: {max(draft.most_tracks, 1)} # the most tracks of an event in these data
  truth_link: {_flow(draft.hits.truth_link)} # hit column: number of the track in its event
{_points(draft)}{_scale_factors(draft)}
  inputs:
{_left_out(draft.hits.left_out, "inputs")}    hit: {_list(draft.hits.inputs)}
  targets:
{_left_out(draft.targets.left_out, "targets")}    particle: {_list(draft.targets.fields)}

trainer:
  max_epochs: {_epochs(draft.events)}
  gradient_clip_val: 1.0
  log_every_n_steps: 50
  callbacks:
    - class_path: hitpool.evaluation.TestReport
    - class_path: hitpool.evaluation.PredictionTable

model:
  optimizer: AdamW
  lrs_config: {{initial: 1.0e-4, max: 2.5e-3, end: 1.0e-5, pct_start: 0.1, weight_decay: 1.0e-3}}
  model:
    class_path: hitpool.nn.MaskFormer
    init_args:
      dim: 32 # width of the network
      input_nets:
        class_path: torch.nn.ModuleList
        init_args:
          modules:
            - class_path: hitpool.nn.InputNet
              init_args:
                net: {{class_path: hitpool.nn.Dense}}
{_position(draft)}
      encoder:
        class_path: hitpool.nn.Encoder
        init_args: {{num_layers: 2, num_heads: 4}}
      decoder:
        class_path: hitpool.nn.MaskFormerDecoder
        init_args:
          num_decoder_layers: 2
          decoder_layer_config: {{num_heads: 4}}
      tasks:
        class_path: torch.nn.ModuleList
        init_args:
          modules:
            # Which queries are tracks.
            - class_path: hitpool.tasks.ObjectValidTask
              init_args:
                name: track_valid
                input_object: query
                output_object: track
                losses: {{object_bce: 1.0}}
                costs: {{object_bce: 10.0}}
            # Which hits belong to each of them.
            - class_path: hitpool.tasks.ObjectHitMaskTask
              init_args:
                name: track_hit_valid
                input_object: query
                output_object: track
                losses: {{mask_bce: 1.0}}
                costs: {{mask_bce: 1.0}}
            # The parameters of each track, from its hits.
            - class_path: hitpool.tasks.WeightedPoolingObjectHitRegressionTask
              init_args:
                name: parameter_regression
                input_object: query
                output_object: track
{_learning(draft)}
                standardize: true
                loss: l1
                loss_weight: 1.0
                layer_norm: true
                regression_num_layers: 3
{_track_fit(draft)}
"""


def _folders(draft: Draft) -> str:
    folders = draft.folders
    lines = [f"  train_dir: {_flow(str(folders.train))} # {draft.events:,} events"]
    same = " # the training events: there are no others" if folders.val == folders.train else ""
    lines.append(f"  val_dir: {_flow(str(folders.val))}{same}")
    lines.append(f"  test_dir: {_flow(str(folders.test)) if folders.test else 'null # no test'}")
    return "\n".join(lines)


def _points(draft: Draft) -> str:
    hits = draft.hits
    if hits.point is None:
        return "  points: {} # no coordinates x, y, z were found\n"
    derived = ", ".join(hits.prefix + name for name in ("x", "y", "z", "r", "eta"))
    columns = f"{_flow(hits.prefix)}: [{_flow(list(hits.point))}]"
    return f"  points: # {derived} and the like are derived from them\n    {columns}\n"


def _scale_factors(draft: Draft) -> str:
    factors = draft.hits.scale_factors
    if not factors:
        return "  scale_factors: {}"
    coordinates = draft.hits.point or ()
    lines = ["  scale_factors: # coordinates to metres, everything else to order one"]
    unit = f" # they are in {draft.hits.unit}" if coordinates else ""
    lines += [
        f"    {_flow(name)}: {_number(factor)}{unit if name in coordinates else ''}" for name, factor in factors.items()
    ]
    return "\n".join(lines)


def _position(draft: Draft) -> str:
    hits = draft.hits
    fields, angles = hits.inputs[:2], ""
    if hits.point:
        fields = [f"{hits.prefix}eta"]
        angles = f", angles: [{_flow([f'{hits.prefix}cos_phi', f'{hits.prefix}sin_phi'])}]"
    return f"""\
                posenc:
                  class_path: hitpool.nn.PositionEncoder
                  init_args: {{fields: {_flow(fields)}{angles}}}"""


def _learning(draft: Draft) -> str:
    targets = draft.targets
    lines = []
    if targets.periodic:
        lines.append(f"periodic_fields: {_flow(targets.periodic)} # angles")
    if targets.sign:
        lines.append(f"sign_fields: {_flow(targets.sign)} # charge: its sign")
    if targets.inverse:
        lines.append(f"inverse_fields: {_flow(list(targets.inverse))} # learned as 1 / value")
        lines.append("prediction_range: # half the smallest and twice the largest value of the training")
        lines += [f"  {_flow(name)}: [{low:g}, {high:g}]" for name, (low, high) in targets.inverse.items()]
    return textwrap.indent("\n".join(lines), 16 * " ")


def _track_fit(draft: Draft) -> str:
    hits = draft.hits
    fit = f"""\
track_fit:
  class_path: hitpool.fits.HelixFit
  init_args:
    field: {draft.field or 2.0:.4g} # T, along z
    points: {_flow([hits.prefix + axis for axis in "xyz"])}"""
    if draft.field is None:
        note = (
            "# In a solenoid along z, a helix fit of the assigned hits helps; its results are corrected by the network:"
        )
        return textwrap.indent(f"{note}\n" + textwrap.indent(fit, "# "), 16 * " ")
    note = "# The helix through the assigned hits, whose results the network corrects; a foreign hit harms it."
    return textwrap.indent(f"{note}\nassignment_threshold: 0.5\n{fit}", 16 * " ")


def _left_out(columns: Mapping[str, str], what: str) -> str:
    """A comment that says which columns are not used, and why."""
    if not columns:
        return ""
    text = f"No {what}: " + ", ".join(f"{name} ({reason})" for name, reason in columns.items())
    lines = textwrap.wrap(text, WIDTH - 6, break_long_words=False, break_on_hyphens=False)
    return "".join(f"    # {line}\n" for line in lines)


def _epochs(events: int) -> int:
    return min(max(round(EVENTS_SEEN / events), FEWEST_EPOCHS), MOST_EPOCHS)


def _list(names: Sequence[str]) -> str:
    """A list in one or, if it is long, in several lines."""
    text = _flow(list(names))
    return text if len(text) < WIDTH - 10 else "".join(f"\n      - {_flow(name)}" for name in names)


def _flow(value: str | list[str]) -> str:
    """A text or a list of texts in YAML, in one line, with quotation marks where they are needed."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
        .removesuffix("\n...\n")
        .strip()
    )


def _number(value: float) -> str:
    mantissa, _, exponent = f"{value:.6g}".partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}e{exponent}" if exponent else mantissa
