"""The start from another training: the network of hitpool, or the pooled regression of hepattn and hitpool."""

import copy
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from hitpool.fits import HelixFit
from hitpool.nn import Dense, MaskFormer
from hitpool.tasks import WeightedPoolingObjectHitRegressionTask
from hitpool.training.freezing import parts
from hitpool.weights import CheckpointError, differences, listed, read_weights

NETS = ("raw_hit_net", "encoded_hit_net", "regression_head")
FIT = ("track_fit.precision", "track_fit.mixture")
SPACE = ("space.mean", "space.spread")
Layers = dict[str, dict[str, Tensor]]  # weight and bias by module

_KEY = re.compile(rf"(?P<owner>.*?)\btasks\.(?P<index>\d+)\.(?P<key>(?:{'|'.join(map(re.escape, NETS + FIT))})\..+)")


@dataclass(frozen=True)
class Transfer:
    """What was taken from a checkpoint; as text a report for the user.

    Args:
        source: Checkpoint and place of the task in it.
        taken: Widths of the networks that were taken.
        left: Networks that were not taken, and why.
        note: What the checkpoint does not tell.
    """

    source: str
    taken: dict[str, str]
    left: dict[str, str]
    note: str

    def __str__(self) -> str:
        width = max(map(len, self.taken | self.left))
        rows = [f"  {net:<{width}}  taken: {widths}" for net, widths in self.taken.items()]
        rows += [f"  {net:<{width}}  not taken: {reason}" for net, reason in self.left.items()]
        return "\n".join([f"regression task of {self.source}:", *rows, f"  {self.note}"])


class Start:
    """The weights that a new training takes from others.

    Args:
        network_checkpoint: Checkpoint for `load_network`, or None.
        regression_checkpoint: Checkpoint for `load_regression_task`, or None.
        frozen: Names of the parts that must be in `network_checkpoint`.
    """

    def __init__(
        self, network_checkpoint: str | None, regression_checkpoint: str | None, frozen: Collection[str]
    ) -> None:
        self.network_checkpoint = network_checkpoint
        self.regression_checkpoint = regression_checkpoint
        self.frozen = frozen
        self._read: dict[str, dict[str, Tensor]] = {}

    def check(self, network: MaskFormer) -> None:
        """Reads the checkpoints and loads them into a copy of a network; see the errors of `load`."""
        self._load(copy.deepcopy(network))

    def load(self, network: MaskFormer) -> list[str]:
        """Loads the weights into a network; what `check` has read is not read again.

        Returns:
            What was taken, for each checkpoint.

        Raises:
            FileNotFoundError: If a checkpoint does not exist.
            CheckpointError: If it does not fit.
        """
        reports = self._load(network)
        self._read = {}
        return reports

    def _load(self, network: MaskFormer) -> list[str]:
        reports = []
        if self.network_checkpoint is not None:
            weights = self._weights(self.network_checkpoint)
            reports.append(load_network(self.network_checkpoint, network, self.frozen, weights))
        if self.regression_checkpoint is not None:
            tasks = [task for task in network.tasks if isinstance(task, WeightedPoolingObjectHitRegressionTask)]
            if len(tasks) != 1:
                raise CheckpointError(
                    "regression_checkpoint needs a model with one WeightedPoolingObjectHitRegressionTask, not "
                    f"{len(tasks)}"
                )
            weights = self._weights(self.regression_checkpoint)
            reports.append(str(load_regression_task(self.regression_checkpoint, tasks[0], weights)))
        return reports

    def _weights(self, path: str) -> dict[str, Tensor]:
        if path not in self._read:
            self._read[path] = read_weights(path)
        return self._read[path]


def load_network(
    checkpoint: str | Path, network: MaskFormer, frozen: Collection[str], weights: dict[str, Tensor] | None = None
) -> str:
    """Takes input networks, encoder, decoder and tasks, by their place in the list, each if the checkpoint has it.

    A pooled regression is taken only if it is frozen: `load_regression_task` knows how to start one from another.

    Args:
        checkpoint: Checkpoint of a training of hitpool.
        network: Gets the weights; it is left as it is if something does not fit.
        frozen: Names of the parts that must be in the checkpoint.
        weights: What `read_weights` gave, if the file was read before.

    Returns:
        What was taken, in one line.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        CheckpointError: It cannot be read, lacks a frozen part or all parts, or a part in it does not fit.
    """
    weights = read_weights(checkpoint) if weights is None else weights
    stored = {key.removeprefix("model."): value for key, value in weights.items()}
    stored = {key: value for key, value in stored.items() if not key.startswith("decoder.tasks.")}
    wanted = {
        name: part
        for name, part in parts(network).items()
        if name in frozen or not isinstance(part, WeightedPoolingObjectHitRegressionTask)
    }
    taken: dict[str, dict[str, Tensor]] = {}
    problems: list[str] = []
    for name, part in wanted.items():
        found = {key.removeprefix(f"{name}."): v for key, v in stored.items() if key.startswith(f"{name}.")}
        if found or name in frozen:
            taken[name] = found
            problems += differences(found, part.state_dict(), f"{name}.")
    if not taken:
        problems = [f"it has none of {', '.join(wanted)}"]
    if problems:
        raise CheckpointError(
            f"the model does not fit the checkpoint {checkpoint}: {listed(problems)}. It must be of a hitpool training "
            "with the same networks; of hepattn's only the pooled regression can be used, with "
            "--model.regression_checkpoint"
        )
    for name, found in taken.items():
        wanted[name].load_state_dict(found)
    left = [name for name in wanted if name not in taken]
    return (
        f"network: {', '.join(taken)} from {checkpoint}{'; not in it: ' + ', '.join(left) if left else ''}"
        f"{'; frozen: ' + ', '.join(frozen) if frozen else ''}"
    )


def load_regression_task(
    checkpoint: str | Path, task: WeightedPoolingObjectHitRegressionTask, weights: dict[str, Tensor] | None = None
) -> Transfer:
    """Takes the networks `raw_hit_net`, `encoded_hit_net`, `regression_head` and those of a fit into a task.

    A network is taken if its outputs are then those of the checkpoint's, else it is left as it is: the widths must be
    equal, which tells SwiGLU from the others, and of a task of hepattn the head must have no LayerNorm but as in its
    fork, and the same learned space.

    Args:
        checkpoint: File with keys `...tasks.<i>.<network>...`; several copies of a task must be equal.
        task: Gets the weights.
        weights: What `read_weights` gave, if the file was read before.

    Returns:
        What was taken.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        CheckpointError: It cannot be read, does not have exactly one task with these networks, has copies that differ,
            or nothing of it could be taken.
    """
    weights = read_weights(checkpoint) if weights is None else weights
    owner, networks = _regression_task(weights, Path(checkpoint))
    from_hitpool = all(f"{owner}{name}" in weights for name in SPACE)
    taken: dict[str, str] = {}
    left: dict[str, str] = {}
    for name in NETS + FIT if isinstance(task.track_fit, HelixFit) else NETS:
        layers, ours = networks[name], cast(Dense, task.get_submodule(name))
        option = "head_activation" if name == "regression_head" else "activation"
        reason = _obstacle(layers, ours, from_hitpool, option)
        if not reason and name == "regression_head" and not from_hitpool:
            reason = _other_space(task)
        if reason:
            left[name] = reason
            continue
        with torch.no_grad():
            for layer, target in zip(layers.values(), _layers(ours.state_dict(keep_vars=True)).values(), strict=True):
                for key, value in layer.items():
                    target[key].copy_(value)
        if name == "regression_head" and from_hitpool:
            task.space.load_state_dict({key.removeprefix("space."): weights[f"{owner}{key}"] for key in SPACE})
        taken[name] = _widths(layers)
    note = "not in the file and to be kept as they were: order of hit_fields and fields, inverse_fields"
    note += (
        ", sign_fields, settings of track_fit"
        if from_hitpool
        else "; activations other than SwiGLU, which shapes do not tell apart"
    )
    transfer = Transfer(f"{checkpoint}, {owner.rstrip('.')}", taken, left, note)
    if not taken:
        raise CheckpointError(f"nothing could be taken from the {transfer}")
    return transfer


def _regression_task(weights: dict[str, Tensor], path: Path) -> tuple[str, dict[str, Layers]]:
    """Prefix of the keys of the only regression task, and the layers of its networks."""
    copies: dict[int, dict[str, dict[str, Tensor]]] = {}  # index -> prefix -> key in the task
    for key, value in weights.items():
        if match := _KEY.fullmatch(key):
            prefix = f"{match['owner']}tasks.{match['index']}."
            copies.setdefault(int(match["index"]), {}).setdefault(prefix, {})[match["key"]] = value
    if len(copies) != 1:
        found = ", ".join(f"tasks.{index}" for index in sorted(copies)) or f"keys such as {list(weights)[:3]}"
        raise CheckpointError(
            f"checkpoint {path}: expected one task with weights in {', '.join(NETS)}, under model.tasks.<i>; it has "
            f"{found}"
        )
    ((prefix, task), *others) = next(iter(copies.values())).items()
    for other, again in others:
        if again.keys() != task.keys() or not all(torch.equal(again[key], value) for key, value in task.items()):
            raise CheckpointError(
                f"checkpoint {path}: {prefix} and {other} are the same task, but their weights differ"
            )
    return prefix, {
        name: _layers({key: value for key, value in task.items() if key.startswith(f"{name}.")}) for name in NETS + FIT
    }


def _layers(state: dict[str, Tensor]) -> Layers:
    """Weight and bias of each layer, in the order of the file, which is that of the modules."""
    layers: Layers = {}
    for key, value in state.items():
        module, _, name = key.rpartition(".")
        layers.setdefault(module, {})[name] = value
    return layers


def _obstacle(layers: Layers, ours: Dense, from_hitpool: bool, option: str) -> str:
    """Why a network, whose activation is set with `option`, cannot be taken; empty if it can."""
    if not layers:
        return "not in the checkpoint"
    for layer in layers.values():
        if not {"weight"} <= layer.keys() <= {"weight", "bias"} or layer["weight"].ndim not in (1, 2):
            return f"it has {', '.join(layer)}: expected weight and bias of linear layers"
    if not from_hitpool and any(layer["weight"].ndim == 1 for layer in layers.values()):
        if not _is_head_of_fork(layers):
            return (
                f"{_widths(layers)}: the checkpoint does not say where LayerNorm stands and which activation there is"
            )
        if (ours.norm, ours.activation) != ("hidden", "relu"):
            return f"{_widths(layers)}, the fork's head: set layer_norm: hidden and head_activation: relu"
    wanted = _layers(ours.state_dict())
    shapes = [
        [{name: value.shape for name, value in layer.items()} for layer in net.values()] for net in (layers, wanted)
    ]
    if shapes[0] == shapes[1]:
        return ""
    advice = ""
    if _is_gated(layers) != (ours.activation == "swiglu"):
        advice = f"; {option}: swiglu is {'that of the checkpoint' if _is_gated(layers) else 'not in the checkpoint'}"
    return f"{_widths(layers)} in the checkpoint, {_widths(wanted)} in the model{advice}"


def _is_gated(layers: Layers) -> bool:
    """Whether each layer gives two numbers for each that the next one takes, as in front of SwiGLU."""
    shapes = [layer["weight"].shape for layer in layers.values() if layer["weight"].ndim == 2]
    return len(shapes) > 1 and all(one[0] == 2 * other[1] for one, other in pairwise(shapes))


def _is_head_of_fork(layers: Layers) -> bool:
    """Whether each hidden layer is Linear, ReLU, LayerNorm, Dropout, by the numbers of the modules."""
    places = [module.rpartition(".")[2] for module in layers]
    if not all(place.isdecimal() for place in places):
        return False
    kinds = {int(place): layer["weight"].ndim for place, layer in zip(places, layers.values(), strict=True)}
    hidden = (len(kinds) - 1) // 2
    return kinds == {4 * i: 2 for i in range(hidden + 1)} | {4 * i + 2: 1 for i in range(hidden)}


def _other_space(task: WeightedPoolingObjectHitRegressionTask) -> str:
    """Why the outputs of a head of hepattn would mean something else in this task; empty if they would not."""
    if task.space.standardize:
        return "the model's outputs are standardised, the checkpoint's are not: set standardize: false"
    if task.space.sign.any():
        return "the model's sign_fields are logits, the checkpoint's are +1 and -1: remove sign_fields"
    return ""


def _widths(layers: Layers) -> str:
    """Such as `23 -> 46 -> 16`; layers with a vector as weight are LayerNorm."""
    text = ""
    for layer in layers.values():
        shape, bias = list(layer["weight"].shape), "" if "bias" in layer else " (no bias)"
        if len(shape) == 2:
            text += (f" -> {shape[0]}" if text else f"{shape[1]} -> {shape[0]}") + bias
        else:
            text += f" [LayerNorm {shape[0]}]{bias}"
    return text.strip()
