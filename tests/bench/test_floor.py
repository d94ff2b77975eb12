import pytest
import torch

from hitpool.bench import floor
from hitpool.bench.cases import THRESHOLD, Case, make_inputs

INTEGER = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def wrapping_sum(*tensors):
    """Sum of the words modulo their size."""
    size = tensors[0].element_size()
    return sum(int(tensor.view(INTEGER[size]).long().sum()) for tensor in tensors) % 2 ** (8 * size)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("backward", [False, True])
def test_everything_is_read_once(dtype, backward):
    logits, features, valid = make_inputs(Case("", 3, 2, 300, 9, 0.1, dtype))
    selected = ((logits.double().sigmoid() >= THRESHOLD) & valid.unsqueeze(1)).any(1)  # [B, M]
    read = [logits, features[selected]]
    if backward:
        read.append(torch.ones(3, 2, 4, 9, dtype=features.dtype))  # gradient of the outputs
    assert floor.cpu_floor(logits, features, valid, backward)() == wrapping_sum(*read)


def test_by_track_the_rows_of_every_track_are_read():
    logits, features, valid = make_inputs(Case("", 3, 5, 300, 9, 0.3))
    selected = (logits.double().sigmoid() >= THRESHOLD) & valid.unsqueeze(1)  # [B, N, M]
    rows = [features[event][chosen] for event in range(3) for chosen in selected[event]]
    assert floor.cpu_floor(logits, features, valid, False, by_track=True)() == wrapping_sum(logits, torch.cat(rows))


def test_threads_read_the_same():
    inputs = make_inputs(Case("", 4, 3, 9000, 16))
    before, sums = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        sums.append(floor.cpu_floor(*inputs, backward=True)())
    torch.set_num_threads(before)
    assert sums[0] == sums[1]


def test_everything_is_written(monkeypatch):
    logits, features, valid = make_inputs(Case("", 2, 3, 50, 7))
    written = []
    allocate = torch.empty_like

    def remember(tensor):
        written.append(allocate(tensor).fill_(5))
        return written[-1]

    call = floor.cpu_floor(logits, features, valid, backward=True)
    monkeypatch.setattr(torch, "empty_like", remember)
    call()
    assert [tensor.shape for tensor in written] == [(2, 3, 4, 7), logits.shape, features.shape]
    assert all((tensor.view(torch.int32) == 1).all() for tensor in written)


def test_bytes_are_counted():
    logits = torch.tensor([[[9.0, -9.0, 9.0], [9.0, -9.0, -9.0]]])  # the third hit is padding
    features, valid = torch.randn(1, 3, 8), torch.tensor([[True, True, False]])
    logits_bytes, row, outputs = 6 * 4, 8 * 4, 2 * 4 * 8 * 4
    forward = logits_bytes + row + outputs
    assert floor.read_rows(logits, valid).tolist() == [0]
    assert floor.read_rows(logits, valid, by_track=True).tolist() == [0, 0]
    assert floor.moved_bytes(logits, features, valid, backward=False) == forward
    assert floor.moved_bytes(logits, features, valid, backward=True) == forward + outputs + logits_bytes + 3 * row


def test_no_compiler_is_said(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    floor._library.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"no C\+\+ compiler found: set CXX"):
        floor.cpu_floor(*make_inputs(Case("", 1, 1, 4, 2)), backward=False)
    floor._library.cache_clear()
