"""Pieces of configurations of hepattn, and what they become."""

import copy
from typing import Any

from hitpool.configuration.hepattn import translate


def module(name: str, place: str = "models", /, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"hepattn.{place}.{name}", "init_args": arguments}


def modules(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"class_path": "torch.nn.ModuleList", "init_args": {"modules": list(entries)}}


def translated(config: Any, gpu: bool = True) -> tuple[Any, str]:
    before = copy.deepcopy(config)
    result, lines = translate(config, gpu)
    assert config == before
    return result, "\n".join(lines)
