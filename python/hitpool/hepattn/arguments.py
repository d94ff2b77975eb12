"""Arguments of tasks by the rules of hepattn and of its muon fork, in hitpool's terms."""

from collections.abc import Mapping
from typing import Any

NAMES = ("input_hit", "input_constituent")
WIDE = ("regression_hidden_dim", "regression_num_layers", "dropout")
WIDE_HEAD = {"layer_norm": "hidden", "head_activation": "relu"}


def own_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with one name of the hits, and with the width that the fork's wide head has without naming it.

    Args:
        arguments: `input_hit` (fork) or `input_constituent` (upstream), and others. If those of `WIDE` are all given
            and `pooled_dim` is not, it becomes `dim`.

    Raises:
        ValueError: Both or none of the names are given.
    """
    given = [arguments[name] for name in NAMES if arguments.get(name) is not None]
    if len(given) != 1:
        raise ValueError(
            f"task {arguments.get('name')}: set either input_hit or input_constituent, two names of the same argument; "
            f"got {' and '.join(f'{name}: {arguments.get(name)}' for name in NAMES)}"
        )
    own = {name: value for name, value in arguments.items() if name not in NAMES}
    own["input_hit"] = given[0]
    if own.get("pooled_dim") is None and _is_wide(own):
        own["pooled_dim"] = own.get("dim")
    return own


def with_wide_head(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with `WIDE_HEAD`, where nothing else is said, if those of `WIDE` are all given."""
    return {**WIDE_HEAD, **arguments} if _is_wide(arguments) else dict(arguments)


def _is_wide(arguments: Mapping[str, Any]) -> bool:
    return all(arguments.get(name) is not None for name in WIDE)
