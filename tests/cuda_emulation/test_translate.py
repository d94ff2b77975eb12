"""What becomes of CUDA's own syntax, and what is refused."""

import pytest

from .translate import translate


def test_launch():
    source = "kernel<T, float><<<blocks(a, b), 2 * kThreads, sizeof(Memory<T, F>), stream>>>(x, f(y, z));"
    configuration = "{dim3(blocks(a, b)), dim3(2 * kThreads), sizeof(Memory<T, F>), stream}"
    call = f"cuda_emulation::launch({configuration}, [](auto... a) {{ kernel<T, float>(a...); }}, x, f(y, z));"
    assert translate(source) == call


def test_shared_memory():
    assert translate("__shared__ T x[kWarps];") == "T* const x = cuda_emulation::static_shared<T>(__COUNTER__, kWarps);"
    dynamic = translate("extern __shared__ __align__(16) unsigned char memory[];")
    assert dynamic == "unsigned char* const memory = cuda_emulation::dynamic_shared();"


@pytest.mark.parametrize("source", ["__shared__ int x;", "__shared__ int x[2][3];", "(*kernel)<<<1, 2>>>(x);"])
def test_refuses_what_it_does_not_know(source: str):
    with pytest.raises(ValueError, match="the emulator cannot translate: "):
        translate(source)
