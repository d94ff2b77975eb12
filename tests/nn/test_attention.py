import pytest
import torch
from torch import nn

from hitpool.nn import Attention


def twin(attention: Attention, dim: int, heads: int) -> nn.MultiheadAttention:
    """Layer of torch with the same weights."""
    torch_attention = nn.MultiheadAttention(dim, heads, batch_first=True)
    state = {name.replace("in_proj.", "in_proj_"): value for name, value in attention.state_dict().items()}
    torch_attention.load_state_dict(state)
    return torch_attention


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("heads", [8, 4, 2])
def test_equals_torch_multihead_attention(heads: int, cross: bool, masked: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(32, heads)
    x = torch.randn(3, 17, 32, requires_grad=True)
    keys = torch.randn(3, 23, 32) if cross else x
    mask = torch.rand(3, 17, keys.shape[1]) < 0.5 if masked else None
    if mask is not None:
        mask[..., 0] = True
    ours = attention(x, keys if cross else None, mask)
    full = None if mask is None else ~mask.repeat_interleave(heads, dim=0)
    theirs, _ = twin(attention, 32, heads)(x, keys, keys, attn_mask=full, need_weights=False)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    weight = torch.randn_like(ours)
    ours_grad, theirs_grad = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad, atol=1e-5, rtol=1e-4)


def test_dropout_is_for_training_only() -> None:
    attention, x = Attention(16, 4, dropout=0.5), torch.randn(2, 7, 16)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


def test_no_keys_gives_finite_output() -> None:
    out = Attention(16, 4)(torch.randn(2, 3, 16), torch.zeros(2, 0, 16))
    assert out.shape == (2, 3, 16)
    assert out.isfinite().all()


@pytest.mark.parametrize("heads", [4, 2])
def test_masked_keys_are_no_keys(heads: int) -> None:
    torch.manual_seed(0)
    attention, x = Attention(16, heads), torch.randn(2, 3, 16)
    mask = torch.tensor([[[False] * 5], [[False, True] + [False] * 3]])
    keys = torch.randn(2, 5, 16, requires_grad=True)
    out = attention(x, keys, mask)
    torch.testing.assert_close(out[:1], attention(x[:1], keys[:1, :0]))
    torch.testing.assert_close(out[1:], attention(x[1:], keys[1:, 1:2]))
    (gradient,) = torch.autograd.grad(out.sum(), keys)
    assert gradient.isfinite().all()
    assert not gradient[0].any()


def test_heads_must_divide_dim() -> None:
    with pytest.raises(ValueError, match="dim = 32 is not a multiple of num_heads = 5"):
        Attention(32, 5)
