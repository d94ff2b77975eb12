"""`libhitpool_inference.so` in a process that has torch alone, compared with the ops of this one.

HITPOOL_OTHER_PYTHONS=/with/torch/2.11/bin/python:/with/torch/2.14/bin/python runs it there, too.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import hitpool
import hitpool.ops  # noqa: F401  (registers them)
from hitpool.export.metadata import OUTPUTS
from hitpool.export.parity import Case, compare
from hitpool.fits import BoxToroid, ToroidFit

HERE = Path(__file__).parent
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
PYTHONS = [sys.executable, *filter(None, os.environ.get("HITPOOL_OTHER_PYTHONS", "").split(os.pathsep))]


@pytest.fixture(scope="module")
def library() -> Path:
    try:
        return Path(hitpool.library_path("inference"))
    except FileNotFoundError as error:
        pytest.skip(str(error))


def toroid_calls() -> Iterator[tuple]:
    geometry, (box, _) = ToroidFit().geometry.numbers(), BoxToroid().numbers()
    grids = [torch.linspace(0.5, 12, 5), torch.linspace(0, 22, 6), torch.linspace(0, torch.pi / 4, 4)]
    table = [grid.double() for grid in (*grids, torch.rand(5, 6, 4))]
    start = torch.rand(2, 30, 3, dtype=torch.float64) * 6 + 4
    ends = start + torch.rand(2, 30, 3, dtype=torch.float64)
    rest = torch.tensor([0.01, 1e-8, 1e-4, 1.0], dtype=torch.float64).expand(2, 30, 4)
    hits, logits = torch.cat([start, ends, rest], -1), torch.randn(2, 3, 30, dtype=torch.float64)
    valid = torch.rand(2, 30) > 0.2
    for field in ((box, []), ([torch.pi / 4, 1.0], table), (box, [torch.empty(0, dtype=torch.float64)])):
        yield "toroid_fit", (hits, logits, valid, geometry, *field), {}
    yield "toroid_fit", (hits, logits, None, geometry, box, []), {"threshold": 0.3, "max_hits": 7}
    yield "toroid_fit", (hits[:, :0], logits[..., :0], None, geometry, box, []), {}
    yield "toroid_fit", (hits[:0], logits[:0], valid[:0], geometry, box, []), {}
    yield "toroid_fit", (hits, logits, valid, geometry[:3], box, []), {}
    yield "toroid_fit", (hits, logits, valid, geometry, box[:2], []), {}
    yield "toroid_fit", (hits, logits, valid, geometry, [0.7, 1.0], table[:2]), {}
    yield "toroid_fit", (hits, logits, valid, geometry, [0.7, 1.0], [*table[:3], table[3].mT]), {}
    yield "toroid_fit", (hits.float(), logits, valid, geometry, box, []), {}
    yield "toroid_fit", (hits, logits[..., 1:], valid, geometry, box, []), {"max_hits": 8}
    yield "toroid_fit", (hits, logits, valid, geometry, box, []), {"max_hits": 0}


def solenoid_calls() -> Iterator[tuple]:
    hits, logits = torch.randn(2, 30, 11, dtype=torch.float64), torch.randn(2, 3, 30, dtype=torch.float64)
    hits[..., 9:] = hits[..., 9:].square() * 1e-8
    valid, numbers = torch.rand(2, 30) > 0.2, (2.0, 0.015, [1e-3, 0.1])
    yield "solenoid_fit", (hits, logits, valid, *numbers), {}
    yield "solenoid_fit", (hits, logits, None, *numbers), {"threshold": 0.3, "max_hits": 7}
    yield "solenoid_fit", (hits[:, :0], logits[..., :0], None, *numbers), {}
    yield "solenoid_fit", (hits[:0], logits[:0], valid[:0], *numbers), {}
    yield "solenoid_fit", (hits.float(), logits, valid, *numbers), {}
    yield "solenoid_fit", (hits, logits[..., 1:], valid, *numbers), {"max_hits": 8}
    yield "solenoid_fit", (hits, logits, valid, 0.0, 0.015, [1e-3, 0.1]), {}
    yield "solenoid_fit", (hits, logits, valid, 2.0, 0.0, [1e-3, 0.1]), {}
    yield "solenoid_fit", (hits, logits, valid, 2.0, 0.015, [1e-3]), {}
    yield "solenoid_fit", (hits, logits, valid, *numbers), {"max_hits": 0}


def pool_calls() -> Iterator[tuple]:
    for logits_dtype, dtype in product(DTYPES, DTYPES):
        logits, features = 3 * torch.randn(4, 3, 50), torch.randn(4, 50, 20)
        yield "weighted_pool", (logits.to(logits_dtype), features.to(dtype), torch.rand(4, 50) > 0.3), {}
    yield "weighted_pool", (logits.mT.contiguous().mT, features[:, :, ::2]), {"threshold": 0.4}
    yield "weighted_pool", (logits[0], features[0]), {}
    yield "weighted_pool", (logits.expand(2, 4, 3, 50), features.expand(2, 4, 50, 20)), {}
    for events, tracks, hits, dim in ((0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 0, 4), (2, 3, 4, 0), (1, 1, 1, 1)):
        yield "weighted_pool", (torch.randn(events, tracks, hits), torch.randn(events, hits, dim)), {}
    yield "weighted_pool", (logits[..., 1:], features), {}
    yield "weighted_pool", (logits, features[0, 0]), {}
    yield "weighted_pool", (logits, features.long()), {}
    yield "weighted_pool", (logits, features, torch.ones(4, 50)), {}
    yield "weighted_pool", (logits, features, torch.ones(4, 49) > 0), {}
    yield "weighted_pool", (logits, features), {"threshold": 1.5}


def attention_calls() -> Iterator[tuple]:
    for dtype, size, rows in product(DTYPES[:2], (4, 8), (None, 1, 37)):
        query, key, value = (torch.randn(3, count, 2, size, dtype=dtype) for count in (37, 21, 21))
        mask = None if rows is None else torch.rand(3, rows, 21) > 0.4
        yield "attention", (query, key, value, mask), {}
    key, value = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (key, value))
    yield "attention", (query.mT.contiguous().mT, key, value, mask.mT.contiguous().mT), {}
    yield "attention", (query, key[:, :0], value[:, :0]), {}
    yield "attention", (query[:, :0], key, value), {}
    yield "attention", (query[:0], key[:0], value[:0]), {}
    yield "attention", (query[..., :5], key, value), {}
    yield "attention", (query, key.double(), value), {}
    yield "attention", (query, key, value[:, 1:]), {}
    yield "attention", (query, key, value, mask[:, :5]), {}
    yield "attention", (query.half(), key, value), {}
    mask = mask[:, :1]
    for wrap in (False, True):
        yield "attention", (key, key, value, mask, 6, wrap), {}
    yield "attention", (key, key, value, mask, 5), {}
    yield "attention", (query, key, value, mask, 6), {}
    yield "attention", (key, key, value, None, 6), {}
    yield "attention", (key, key, value, mask.expand(-1, 21, -1), 6), {}


def eta_calls() -> Iterator[tuple]:
    for dtype, shape in product(DTYPES, ((), (0,), (1,), (3, 70), (40000,))):
        yield "pseudorapidity", ((3.2 * torch.rand(shape)).to(dtype),), {}
    yield "pseudorapidity", (torch.rand(5, 6).mT,), {}
    yield "pseudorapidity", (torch.ones(3, dtype=torch.int64),), {}


def calls() -> list[tuple]:
    torch.manual_seed(0)
    return [*pool_calls(), *attention_calls(), *toroid_calls(), *solenoid_calls(), *eta_calls()]


def outcome(name: str, arguments: tuple, options: dict) -> Tensor | tuple[Tensor, ...] | str:
    try:
        return getattr(torch.ops.hitpool, name)(*arguments, **options)
    except (ValueError, TypeError) as error:
        return str(error).splitlines()[0]


def cases_of(exported: Path) -> list[Case]:
    """The events of the check that stand beside the model."""
    tensors = load_file(f"{exported}.check.safetensors")
    count = 1 + max(int(name.split(".")[0]) for name in tensors)
    return [
        Case(
            tensors[f"{i}.hits"],
            tensors[f"{i}.valid"],
            tuple(tensors[f"{i}.{name}"] for name in OUTPUTS),
            tensors[f"{i}.exempt"],
        )
        for i in range(count)
    ]


@pytest.fixture(scope="module", params=PYTHONS)
def there(request, library: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What a process says that has torch and this library alone."""
    folder = tmp_path_factory.mktemp("inference")
    torch.save((calls(), [(case.hits, case.valid) for case in cases_of(exported)]), folder / "inputs.pt")
    shutil.copy(exported, folder / "model.pt")
    done = subprocess.run(
        [request.param, HERE / "run_inference.py", library, folder], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    version, results, schemas, outputs = torch.load(folder / "outputs.pt")
    print("torch", version)
    return SimpleNamespace(results=results, schemas=schemas, outputs=outputs)


def test_results_and_errors_are_those_of_the_ops(there: SimpleNamespace) -> None:
    errors = 0
    for call, got in zip(calls(), there.results, strict=True):
        expected = outcome(*call)
        if isinstance(expected, str):
            assert got == expected
            errors += 1
        else:
            torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)
    assert errors == 29


def test_schemas_are_those_of_the_ops(there: SimpleNamespace) -> None:
    assert there.schemas == [str(getattr(torch.ops.hitpool, name).default._schema) for name, _, _ in calls()]


def test_an_exported_model_gives_the_same(there: SimpleNamespace, exported: Path) -> None:
    outputs = iter(there.outputs)
    agreement = compare(lambda hits, valid: next(outputs), cases_of(exported), "torchscript")
    print(json.dumps(agreement.worst))


@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_the_instruction_set_is_the_one_that_torch_chooses(library: Path, capability: str) -> None:
    """Sums of float32 depend on how many of them are added at once."""
    has = torch.backends.cpu.get_cpu_capability().lower()
    if has not in ("avx2", "avx512") or (capability == "avx512" and has == "avx2"):
        pytest.skip(f"this process has {has}")
    code = """
import sys, torch
torch.ops.load_library(sys.argv[1])
torch.manual_seed(0)
pooled = torch.ops.hitpool.weighted_pool(torch.randn(20, 5, 300), torch.randn(20, 300, 37))
print(pooled.numpy().tobytes().hex())
"""
    results = [
        subprocess.run(
            [sys.executable, "-c", code, path],
            env=os.environ | {"ATEN_CPU_CAPABILITY": capability},
            cwd=library.parent.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for path in (library, hitpool.library_path())
    ]
    assert results[0] == results[1]


def test_both_libraries_in_one_process_are_an_error_that_says_so(library: Path) -> None:
    code = "import sys, torch; [torch.ops.load_library(path) for path in sys.argv[1:]]"
    done = subprocess.run(
        [sys.executable, "-c", code, hitpool.library_path(), library], cwd=HERE, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "load either libhitpool_inference.so or libhitpool_ops.so" in done.stderr


def test_it_needs_of_torch_the_stable_abi_alone(library: Path) -> None:
    if (nm := shutil.which("nm")) is None or (readelf := shutil.which("readelf")) is None:
        pytest.skip("no nm or readelf here")
    listed = subprocess.run([nm, "-D", "--undefined-only", library], capture_output=True, text=True, check=True).stdout
    symbols = {line.split()[-1] for line in listed.splitlines() if line.split()[0] == "U"}
    of_torch = {symbol for symbol in symbols if "@" not in symbol}  # those of libc and libstdc++ have versions
    assert of_torch
    assert {symbol for symbol in of_torch if not re.match(r"(aoti_)?torch_", symbol)} == set()
    dynamic = subprocess.run([readelf, "-d", library], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"NEEDED.*\[(\S+?)\.so", dynamic)
    assert {name for name in needed if "torch" in name or "c10" in name or "python" in name} == {"libtorch_cpu"}
