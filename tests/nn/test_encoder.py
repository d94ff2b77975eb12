import pytest
import torch

from hitpool.nn import Encoder


@pytest.mark.parametrize("norm", ["LayerNorm", "RMSNorm"])
def test_padding_has_no_influence(norm: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(2, 16, num_heads=4, norm=norm)
    x = torch.randn(2, 9, 16)
    valid = torch.arange(9) < torch.tensor([[9], [4]])
    out = encoder(x, valid)
    other = encoder(torch.where(valid.unsqueeze(-1), x, 1e3 * torch.randn_like(x)), valid)
    torch.testing.assert_close(out[valid], other[valid])
    alone = encoder(x[1:, :4], valid[1:, :4])
    torch.testing.assert_close(out[1:, :4], alone, atol=1e-5, rtol=1e-5)


def test_order_of_hits_does_not_matter() -> None:
    torch.manual_seed(0)
    encoder, x, order = Encoder(2, 16, num_heads=4), torch.randn(1, 30, 16), torch.randperm(30)
    valid = torch.ones(1, 30, dtype=torch.bool)
    torch.testing.assert_close(encoder(x[:, order], valid), encoder(x, valid)[:, order], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("events", "hits"), [(2, 5), (2, 0), (0, 5)])
def test_no_valid_hit_gives_finite_output_and_gradients(events: int, hits: int) -> None:
    encoder = Encoder(1, 16, num_heads=4)
    out = encoder(torch.randn(events, hits, 16), torch.zeros(events, hits, dtype=torch.bool))
    assert out.shape == (events, hits, 16)
    assert out.isfinite().all()
    out.sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())
