"""Parts of a network, and those of them that a training keeps as they are."""

from collections.abc import Sequence
from typing import cast

from torch import nn

from hitpool.nn import MaskFormer


def parts(network: MaskFormer) -> dict[str, nn.Module]:
    """Parts of a network by name: `input_nets`, `encoder`, `decoder`, `tasks.0` and so on.

    Args:
        network: The network.
    """
    named = {name: network.get_submodule(name) for name in ("input_nets", "encoder", "decoder")}
    return named | {f"tasks.{index}": cast(nn.Module, task) for index, task in enumerate(network.tasks)}


def named_parts(network: MaskFormer, names: Sequence[str]) -> dict[str, nn.Module]:
    """The parts that are meant by names or by their beginning: `tasks` means all tasks.

    Args:
        network: The network.
        names: Names of parts.

    Raises:
        ValueError: If there is no such part, with the names that there are.
    """
    known = parts(network)
    for name in names:
        if not any(_means(name, part) for part in known):
            raise ValueError(f"model.frozen: expected names among {', '.join([*known, 'tasks'])}, got {name!r}")
    return {part: module for part, module in known.items() if any(_means(name, part) for name in names)}


def _means(name: str, part: str) -> bool:
    return f"{part}.".startswith(f"{name}.")
