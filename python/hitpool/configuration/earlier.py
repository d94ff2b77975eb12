"""Configurations that earlier versions of hitpool wrote, in the terms of this one."""

from typing import Any

from hitpool.hepattn.arguments import own_arguments


def update(node: Any) -> None:
    """Rewrites tasks that were written when hitpool's own had the names and widths of hepattn's.

    They have the argument `input_constituent`, if only as null; then a `pooled_dim` of null could mean `dim`.

    Args:
        node: A configuration, or a piece of one, which is changed.

    Raises:
        ValueError: The kind of hits of a task has two names, or none.
    """
    for entry in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        update(entry)
    if isinstance(node, dict) and str(node.get("class_path")).startswith("hitpool.tasks."):
        arguments = node.get("init_args")
        if isinstance(arguments, dict) and "input_constituent" in arguments:
            node["init_args"] = own_arguments(arguments)
