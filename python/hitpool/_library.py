from __future__ import annotations

import importlib
from pathlib import Path
from typing import Literal

import torch

REBUILD = "pip install --force-reinstall --no-deps --no-build-isolation ."


def library_path(name: Literal["ops", "inference"] = "ops") -> str:
    """Path of a library that registers the ops with torch.

    It holds no Python, so any program with libtorch can load it, but only one of the two:

    Args:
        name: `ops` is `libhitpool_ops.so`, all of it, for the minor version of torch that it was built with;
            `inference` is `libhitpool_inference.so`, without gradients and on CPU, for torch 2.11 to 2.14; a build
            with an earlier torch has none.

    Returns:
        Absolute path, for `torch.ops.load_library` in Python or `dlopen` in C++.

    Raises:
        FileNotFoundError: This build of hitpool has no such library.

    Example:
        >>> import torch, hitpool
        >>> torch.ops.load_library(hitpool.library_path())
    """
    extension = importlib.import_module("hitpool._C")
    assert extension.__file__ is not None
    path = Path(extension.__file__).with_name(f"libhitpool_{name}.so")
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; hitpool was built with torch {extension.torch_version}, and the library for "
            "inference is built with torch 2.11 or newer"
        )
    return str(path)


def load_library() -> None:
    """Register the ops with the running torch.

    Raises:
        ImportError: the compiled part is missing, or was built for another minor version of torch.
    """
    try:
        extension = importlib.import_module("hitpool._C")
    except ImportError as error:
        raise ImportError(f"hitpool's compiled part is missing ({error}); build it with: {REBUILD}") from error
    built, running = extension.torch_version, torch.__version__
    if built.split(".")[:2] != running.split(".")[:2]:
        raise ImportError(
            f"hitpool was built for torch {built}, but torch {running} is running; rebuild it with: {REBUILD}"
        )
    torch.ops.load_library(library_path())
