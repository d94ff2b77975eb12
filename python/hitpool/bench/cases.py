"""What is measured: shapes, dtypes, shares of selected hits, and inputs made from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

THRESHOLD = 0.1  # of the assignment probability
VALID = 0.95  # share of hits that are not padding
MARGIN = 1e-3  # no logit is closer to the threshold: rounding must not decide what is selected


@dataclass(frozen=True)
class Case:
    """One measurement's inputs."""

    name: str
    events: int  # B
    tracks: int  # N
    hits: int  # M
    features: int  # D
    selected: float = 0.2  # share of the hits that a track selects
    dtype: str = "float32"
    device: str = "cpu"
    backward: bool = True  # False: only the forward is measured

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.events, self.tracks, self.hits, self.features

    @property
    def pairs(self) -> int:
        """Expected number of pairs of a track and a hit that it selects."""
        return round(self.events * self.tracks * self.hits * self.selected)

    @property
    def itemsize(self) -> int:
        return torch_dtype(self.dtype).itemsize

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @property
    def kind(self) -> str:
        """Everything but the shape."""
        return f"{self.dtype}, {100 * self.selected:.3g} % of the hits selected"

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype} {100 * self.selected:.3g} %"


SHAPES = {  # B, N, M, D
    "training": (200, 2, 600, 32),  # a batch of the original's training
    "events": (200, 2, 60, 32),  # events of realistic size
    "wide": (32, 2, 600, 128),
    "inner": (8, 64, 3000, 64),  # an inner detector
    "trigger": (1, 2, 600, 32),  # latency of one event
    "busy": (1, 500, 10000, 128),
    "hllhc": (1, 2000, 60000, 32),  # a whole event of the HL-LHC: most hits are in no track
}
MAIN = ("training", "events", "wide", "inner", "trigger")
HLLHC_SELECTED = 0.0005
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
OTHER_DTYPES = ("training", "wide")  # shapes that are measured in every dtype asked for


def torch_dtype(name: str) -> torch.dtype:
    """Dtype of a name.

    Args:
        name: As in `--dtype`.

    Returns:
        The dtype.

    Raises:
        ValueError: unknown name.
    """
    if name not in DTYPES:
        raise ValueError(f"--dtype {name}: expected one of {', '.join(DTYPES)}")
    return DTYPES[name]


def make_cases(shapes: list[str], selected: list[float], dtypes: list[str], device: str = "cpu") -> list[Case]:
    """Cases for what was asked on the command line.

    Args:
        shapes: Names of `SHAPES`, `all`, `main`, or sizes as `B,N,M,D`.
        selected: Shares of selected hits; the whole HL-LHC event has its own.
        dtypes: Names of dtypes. Of the named shapes, only `training` and `wide` are measured in more than the first.
        device: `cpu` or `cuda`.

    Returns:
        Cases in the order of the shapes.

    Raises:
        ValueError: a shape, share or dtype that does not exist.

    Example:
        >>> [str(case) for case in make_cases(["trigger", "4,2,50,8"], [0.2], ["float32"])]
        ['(1, 2, 600, 32) float32 20 %', '(4, 2, 50, 8) float32 20 %']
    """
    for dtype in dtypes:
        torch_dtype(dtype)
    for share in selected:
        if not 0 < share <= 1:
            raise ValueError(f"--selected {share}: expected a share of the hits, more than 0 and at most 1")
    cases = []
    for name, shape in _resolve(shapes).items():
        whole_event = name == "hllhc"
        for dtype in dtypes if name in OTHER_DTYPES or name not in SHAPES else dtypes[:1]:
            for share in [HLLHC_SELECTED] if whole_event else selected:
                cases.append(Case(name, *shape, share, dtype, device, backward=not whole_event))
    return cases


def make_inputs(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """The same inputs at every call: normal logits of width 3, shifted so that the share of hits is selected.

    Args:
        case: What to make.

    Returns:
        Logits [B, N, M] and features [B, M, D] of the case's dtype, valid [B, M].
    """
    generator = torch.Generator().manual_seed(0)
    threshold = torch.logit(torch.tensor(THRESHOLD))
    logits = torch.randn(case.events, case.tracks, case.hits, generator=generator)  # [B, N, M]
    quantile = torch.special.ndtri(torch.tensor(1 - case.selected / VALID, dtype=torch.float64)).float()
    logits.sub_(quantile.clamp(-10, 10)).mul_(3).add_(threshold)
    near = (logits - threshold).abs() < MARGIN
    logits[near] = threshold + MARGIN
    features = torch.randn(case.events, case.hits, case.features, generator=generator)  # [B, M, D]
    valid = torch.rand(case.events, case.hits, generator=generator) < VALID  # [B, M]
    dtype = torch_dtype(case.dtype)
    return logits.to(case.device, dtype), features.to(case.device, dtype), valid.to(case.device)


def _resolve(shapes: list[str]) -> dict[str, tuple[int, int, int, int]]:
    resolved = {}
    for text in shapes:
        if text in ("all", "main"):
            resolved |= {name: SHAPES[name] for name in (SHAPES if text == "all" else MAIN)}
        elif text in SHAPES:
            resolved[text] = SHAPES[text]
        else:
            resolved[text] = _sizes(text)
    return resolved


def _sizes(text: str) -> tuple[int, int, int, int]:
    try:
        events, tracks, hits, features = (int(size) for size in text.split(","))
    except ValueError:
        events = tracks = hits = features = 0
    if min(events, tracks, hits, features) < 1:
        known = ", ".join(("main", "all", *SHAPES))
        raise ValueError(f"--shapes {text}: expected {known}, or four sizes B,N,M,D of at least 1 like 200,2,600,32")
    return events, tracks, hits, features
