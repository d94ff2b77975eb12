"""The kernels on arrays that are guarded and watched."""

import ctypes
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .emulation import Emulation, Requests
from .guarded import Guarded

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # as enum class Dtype
NAMES = ("pooled", "index", "sums", "grad_logits", "grad_features")


@dataclass(frozen=True)
class Call:
    """Arguments of weighted_pool, and the gradient of its result.

    Args:
        logits: [B, N, M]
        features: [B, M, D]
        valid: [B, M] or None
        threshold: Of the selection.
        grad: [B, N, 4, D]
    """

    logits: Tensor
    features: Tensor
    valid: Tensor | None
    threshold: float
    grad: Tensor

    @property
    def arithmetic(self) -> torch.dtype:
        return torch.float64 if torch.float64 in (self.logits.dtype, self.features.dtype) else torch.float32


class _Inputs(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("events", "tracks", "hits", "features")),
        *((name, ctypes.c_void_p) for name in ("logits", "values", "valid")),
        ("logits_dtype", ctypes.c_int),
        ("values_dtype", ctypes.c_int),
        ("threshold", ctypes.c_double),
    )


class Kernels(Emulation):
    """Runs them and collects what was wrong.

    Args:
        path: Of the library.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        self.library.forward_scratch.restype = ctypes.c_int64
        self.problems: list[str] = []
        self.traffic_of: dict[str, list[Requests]] | None = None  # by kernel, if it is not None

    def run(self, call: Call, *, shift: int = 0, output_shift: int = 0, fill: int = 0xFF) -> dict[str, Tensor]:
        """Forward, without what only backward needs and with it, and both backwards.

        Args:
            call: What is calculated.
            shift: How far every input is from a multiple of 64 bytes, in numbers.
            output_shift: The same of results.
            fill: Byte that outputs hold at first.

        Returns:
            The results by name.
        """
        given = {"logits": call.logits, "features": call.features, "valid": call.valid}
        arrays = {name: Guarded.copy(tensor, shift) for name, tensor in given.items() if tensor is not None}
        (B, N, M), D = call.logits.shape, call.features.shape[-1]
        inputs = _Inputs(B, N, M, D, *(arrays[name].address if name in arrays else None for name in given))
        inputs.logits_dtype, inputs.values_dtype = DTYPES.index(call.logits.dtype), DTYPES.index(call.features.dtype)
        inputs.threshold = call.threshold
        call_of = ctypes.byref(inputs)

        def empty(*shape: int, dtype: torch.dtype) -> Guarded:
            return Guarded(shape, dtype, output_shift, fill)

        pooled = empty(B, N, 4, D, dtype=call.features.dtype)
        index = empty(B, N, 2, D, dtype=torch.int32)
        sums = empty(B, N, D + 1, dtype=call.arithmetic)
        alone = empty(B, N, 4, D, dtype=call.features.dtype)
        if B * N * D:
            room = self.library.forward_scratch(call_of)
            scratch = {"scratch": Guarded((room,), torch.uint8, 0, fill)} if room else {}
            end = scratch.get("scratch")
            self._launch("forward", arrays, {"pooled": alone, **scratch}, [call_of, alone, None, None, end])
            outputs = {"pooled": pooled, "index": index, "sums": sums}
            self._launch("forward", arrays, outputs | scratch, [call_of, *outputs.values(), end])
        else:
            sums.tensor.zero_()
        if not torch.equal(alone.tensor.view(torch.uint8), pooled.tensor.view(torch.uint8)):
            self.problems.append("forward: other results with index and sums than without")

        arrays["grad"] = Guarded.copy(call.grad, shift)
        read = {"index": index, "sums": sums}
        for array in read.values():
            array.keep()
        grad_logits = empty(B, N, M, dtype=call.logits.dtype)
        grad_features = empty(B, M, D, dtype=call.features.dtype)
        if B * N * M * D:
            outputs = {"grad_logits": grad_logits}
            arguments = [call_of, arrays["grad"], sums, grad_logits]
            self._launch("backward_logits", arrays | read, outputs, arguments)
        else:
            grad_logits.tensor.zero_()
        if B * M * D:
            outputs = {"grad_features": grad_features}
            arguments = [call_of, arrays["grad"], index, sums, grad_features]
            self._launch("backward_features", arrays | read, outputs, arguments)
        results = (pooled, index, sums, grad_logits, grad_features)
        return {name: array.tensor for name, array in zip(NAMES, results, strict=True)}

    def eta(self, theta: Tensor, shift: int = 0) -> Tensor:
        """Pseudorapidity of angles [n], n > 0."""
        angles, result = Guarded.copy(theta, shift), Guarded(tuple(theta.shape), theta.dtype, shift, 0xFF)
        sizes = [ctypes.c_int(DTYPES.index(theta.dtype)), ctypes.c_int64(len(theta))]
        self._launch("eta", {"theta": angles}, {"eta": result}, [*sizes, angles, result])
        return result.tensor

    def eta_gradient(self, grad: Tensor, theta: Tensor, shift: int = 0) -> Tensor:
        """Gradient of the angles [n], n > 0."""
        read = {"grad": Guarded.copy(grad, shift), "theta": Guarded.copy(theta, shift)}
        result = Guarded(tuple(theta.shape), theta.dtype, shift, 0xFF)
        sizes = [ctypes.c_int(DTYPES.index(theta.dtype)), ctypes.c_int64(len(theta))]
        self._launch("eta_gradient", read, {"gradient": result}, [*sizes, *read.values(), result])
        return result.tensor

    def _launch(self, name: str, read: dict[str, Guarded], written: dict[str, Guarded], arguments: list) -> None:
        self.clear_regions()
        for arrays, writable in ((read, False), (written, True)):
            for key, array in arrays.items():
                self.add_region(array.address, array.bytes, writable, key)
        if self.traffic_of is not None:
            self.start_traffic()
        passed = [ctypes.c_void_p(one.address) if isinstance(one, Guarded) else one for one in arguments]
        error = getattr(self.library, name)(*passed)
        if self.traffic_of is not None:
            self.traffic_of[name] = self.traffic()
        self.report_unwritten()
        problems = [f"error {error}"] if error else []
        problems += self.reports()
        problems += [f"input {key} was changed" for key, array in read.items() if not array.is_unchanged()]
        problems += [f"written outside of {key}" for key, array in written.items() if not array.is_unchanged_outside()]
        self.problems += [f"{name}: {problem}" for problem in problems]

    def take_problems(self) -> list[str]:
        problems, self.problems = self.problems, []
        return problems
