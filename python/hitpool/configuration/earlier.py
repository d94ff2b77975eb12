"""Configurations that earlier versions of hitpool wrote, in the terms of this one."""

from typing import Any

from hitpool.hepattn.arguments import own_arguments


def update(node: Any) -> None:
    """Rewrites tasks of versions in which hitpool's own tasks had the names and widths of hepattn's.

    Such a task has the argument `input_constituent`, if only as null; then a `pooled_dim` of null could mean `dim`.

    Args:
        node: A configuration, or a piece of one, which is changed.

    Raises:
        ValueError: The kind of hits of a task has two names, or none.

    Example:
        >>> arguments = {"name": "track_hit_valid", "input_hit": "hit", "input_constituent": None}
        >>> config = [{"class_path": "hitpool.tasks.ObjectHitMaskTask", "init_args": arguments}]
        >>> update(config)
        >>> config[0]["init_args"]
        {'name': 'track_hit_valid', 'input_hit': 'hit'}
    """
    for entry in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        update(entry)
    if isinstance(node, dict) and str(node.get("class_path")).startswith("hitpool.tasks."):
        arguments = node.get("init_args")
        if isinstance(arguments, dict) and "input_constituent" in arguments:
            node["init_args"] = own_arguments(arguments)
