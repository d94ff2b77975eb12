"""Checkpoints: reading them without running code that they may contain, and comparing weights with a model."""

import inspect
import pickletools
import zipfile
from collections.abc import Collection, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

NAMED = 5  # of many problems


class CheckpointError(ValueError):
    """A checkpoint cannot be used."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a file that torch.save wrote, after comparing it with its checksums, which torch.load does not look at.

    Args:
        path: The file; one in the format before torch 1.6 has no checksums.

    Returns:
        Its content; empty if that is not a dictionary.

    Raises:
        FileNotFoundError: The file does not exist.
        CheckpointError: The file is not a checkpoint, is damaged, or holds objects whose loading would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    with path.open("rb") as file:
        _check_intact(file, path)
        file.seek(0)
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever a broken file leads to
            raise CheckpointError(_explain(path, error)) from error
    return content if isinstance(content, dict) else {}


def names_key(path: Path, key: str) -> bool:
    """Whether a checkpoint names a key; its tensors are not read.

    Args:
        path: File that torch.save wrote.
        key: Such as `optimizer_states`.

    Raises:
        CheckpointError: The file is not a checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as file:
            (structure,) = (name for name in file.namelist() if name.endswith("/data.pkl"))
            return any(value == key for _, value, _ in pickletools.genops(file.read(structure)))
    except Exception as error:  # zipfile and pickletools raise whatever a broken file leads to
        raise CheckpointError(f"checkpoint {path} cannot be read: {type(error).__name__}: {error}") from error


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Reads the weights of a Lightning checkpoint, or of a file that holds nothing but weights.

    Args:
        path: File that torch.save wrote.

    Returns:
        Weights by key, without the `_orig_mod.` that a compiled module puts into the key.

    Raises:
        FileNotFoundError: The file does not exist.
        CheckpointError: The file is not a checkpoint, holds no weights, or holds objects whose loading would run code.
    """
    return weights_in(read_checkpoint(path), path)


def weights_in(content: dict[str, Any], path: str | Path) -> dict[str, Tensor]:
    """Finds the weights in what a checkpoint holds.

    Args:
        content: What `read_checkpoint` returned.
        path: The file, for messages.

    Returns:
        As `read_weights`.

    Raises:
        CheckpointError: It holds no weights.
    """
    weights = content.get("state_dict", content)
    entries = weights.items() if isinstance(weights, dict) else ()
    if not entries or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in entries):
        raise CheckpointError(
            f"checkpoint {path} holds no weights: expected a dictionary of tensors, or one as state_dict"
        )
    return {key.replace("_orig_mod.", ""): value for key, value in entries}


def fitting_weights(content: dict[str, Any], path: Path, model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model.

    Args:
        content: What a checkpoint of a training, or a file of weights, holds.
        path: The file, for messages.
        model: The Lightning module.

    Returns:
        Weights by key.

    Raises:
        CheckpointError: If they do not fit the model.
    """
    weights = weights_in(content, path)
    own = model.state_dict()
    if problems := differences(weights, own):
        parts = [*lacking(own, weights), *lacking(weights, own)]
        arguments = [f"--model.{part}" for part in parts if _is_argument(model, part)]
        raise CheckpointError(
            f"checkpoint {path} does not fit the model: {listed(problems)}. It needs the configuration that it was "
            "trained with, config.yaml in the directory of its run"
            + (f"; what differs is set by {' and '.join(arguments)}" if arguments else "")
        )
    return weights


def differences(found: dict[str, Tensor], wanted: dict[str, Tensor], prefix: str = "") -> list[str]:
    """What keeps weights from being loaded.

    Args:
        found: Weights of the checkpoint.
        wanted: Weights of the model.
        prefix: Put before the keys.

    Returns:
        Words for each key or whole module that is missing or unknown, and for each key of another shape.
    """
    problems = [f"{prefix}{part} is missing in the checkpoint" for part in lacking(wanted, found)]
    problems += [f"{prefix}{part} of the checkpoint is not in the model" for part in lacking(found, wanted)]
    for key, value in found.items():
        if key in wanted and value.shape != wanted[key].shape:
            shapes = f"{list(value.shape)} in the checkpoint and {list(wanted[key].shape)} in the model"
            problems.append(f"{prefix}{key} is {shapes}")
    return problems


def lacking(keys: Collection[str], others: Collection[str]) -> list[str]:
    """Keys that others lack; of a module that they lack altogether, its name alone.

    Example:
        >>> lacking(["a.x", "a.net.0.weight", "a.net.0.bias"], ["a.x"])
        ['a.net']
    """
    known = {name for key in others for name in _places(key)}
    absent = (key for key in keys if key not in others)
    return list(dict.fromkeys(next(name for name in _places(key) if name not in known) for key in absent))


def listed(problems: list[str]) -> str:
    """The first few of many problems, and how many more there are."""
    more = [f"and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
    return "; ".join([*problems[:NAMED], *more])


def _check_intact(file: BinaryIO, path: Path) -> None:
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile raises whatever a broken file leads to
        raise CheckpointError(f"checkpoint {path} is damaged: {error}") from error
    if damaged is not None:
        raise CheckpointError(f"checkpoint {path} is damaged: {damaged} in it does not have the stored checksum")


def _is_argument(model: nn.Module, part: str) -> bool:
    """Whether a part of the model is given to the module around it as an argument of that name."""
    owner, _, name = part.rpartition(".")
    modules = dict(model.named_modules())
    return owner in modules and name in inspect.signature(type(modules[owner])).parameters


def _places(key: str) -> Iterator[str]:
    """The modules that a weight is in, from the outside, and its own key."""
    return accumulate(key.split("."), "{}.{}".format)


def _explain(path: Path, error: Exception) -> str:
    try:
        classes = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # a broken file, or one in the format before torch 1.6; `error` says what is wrong
        lines = [line.strip() for line in str(error).splitlines() if "weights_only" not in line and line.strip()]
        return f"checkpoint {path} cannot be read: {': '.join([type(error).__name__, *lines[-1:]])}"
    if not classes:
        return f"checkpoint {path} cannot be read: {error}"
    command = (
        f"import torch; torch.save(torch.load('{path}', map_location='cpu', weights_only=False)['state_dict'], "
        "'weights.ckpt')"
    )
    return (
        f"checkpoint {path} is refused: it holds objects of {', '.join(classes)}, and loading them runs code of the "
        f'file. If you trust it, write its weights alone, where these are installed, with python -c "{command}"'
    )
