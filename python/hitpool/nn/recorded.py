"""Whether a model is being recorded, in which case its code must not look at values."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_RECORDING = ContextVar("recording", default=False)


def is_recorded() -> bool:
    """Whether what runs now becomes a graph: `torch.compile`, `torch.export`, `torch.jit.trace` or ONNX."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or _RECORDING.get()


@contextmanager
def recording() -> Iterator[None]:
    """Declares that what runs inside becomes a graph."""
    token = _RECORDING.set(True)
    try:
        yield
    finally:
        _RECORDING.reset(token)
