"""The contract of pseudorapidity: accuracy over (0, pi), ends, gradients, types, errors."""

import math

import mpmath
import pytest
import torch

import hitpool
from hitpool.ops import reference

PI = {dtype: torch.tensor(math.pi, dtype=dtype) for dtype in (torch.float64, torch.float32)}


def exact_eta(theta: float) -> mpmath.mpf:
    with mpmath.workdps(60):
        return -mpmath.log(mpmath.tan(mpmath.mpf(theta) / 2))


def angles(dtype):
    """Angles in (0, pi): everywhere, near both ends, near pi/2, and the neighbours of every special point."""
    generator = torch.Generator().manual_seed(0)
    info = torch.finfo(dtype)
    smallest = math.log10(info.tiny)
    spread = torch.rand(1500, generator=generator, dtype=torch.float64)
    parts = [
        math.pi * spread,
        10 ** (smallest * (1 - spread)),
        math.pi - 10 ** (-16 * spread),
        math.pi / 2 + 10 ** (-17 * spread),
        math.pi / 2 - 10 ** (-17 * spread),
    ]
    points = torch.tensor([math.pi / 4, math.pi / 2, 3 * math.pi / 4, math.pi], dtype=dtype)
    below = points
    for _ in range(20):
        below = torch.nextafter(below, torch.zeros_like(below))
        parts.append(below.double())
    theta = torch.cat(parts).to(dtype)
    return theta[(theta > 0) & (theta < PI[dtype])].unique()


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2), (torch.float64, 4)])
def test_units_in_the_last_place(device, dtype, limit):
    theta = angles(dtype)
    eta = hitpool.pseudorapidity(theta.to(device)).cpu()
    infinity = torch.full_like(eta, math.inf)
    worst = 0.0
    for angle, value, above in zip(
        theta.tolist(), eta.tolist(), torch.nextafter(eta.abs(), infinity).tolist(), strict=True
    ):
        exact = exact_eta(angle)
        unit = above - abs(value)
        worst = max(worst, float(abs(exact - value) / unit))
    assert len(theta) > 4000
    assert worst <= limit


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_ends_and_outside(device, dtype):
    pi = torch.tensor(math.pi, dtype=dtype)
    theta = torch.tensor([0.0, -0.0, pi.item(), -0.1, 3.2, math.nan, math.inf, -math.inf], dtype=dtype, device=device)
    eta = hitpool.pseudorapidity(theta)
    assert eta[:3].tolist() == [math.inf, math.inf, -math.inf]
    assert eta[3:].isnan().all()
    assert reference.pseudorapidity(theta).isnan().tolist() == eta.isnan().tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_is_the_rounded_exact_value(device, dtype):
    theta = torch.linspace(0.01, 3.1, 400).to(dtype)
    expected = torch.tensor([float(exact_eta(angle)) for angle in theta.tolist()], dtype=torch.float64)
    assert torch.equal(hitpool.pseudorapidity(theta.to(device)).cpu(), expected.to(dtype))


def test_is_the_inverse_of_theta_of_eta(device):
    eta = torch.linspace(-8, 8, 4001, dtype=torch.float64, device=device)
    theta = 2 * torch.atan(torch.exp(-eta))
    torch.testing.assert_close(hitpool.pseudorapidity(theta), eta, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_derivative(device, dtype):
    theta = angles(dtype)[::7].to(device).requires_grad_()
    (grad,) = torch.autograd.grad(hitpool.pseudorapidity(theta).sum(), theta)
    exact = [float(-1 / mpmath.sin(mpmath.mpf(angle))) for angle in theta.tolist()]
    torch.testing.assert_close(grad, torch.tensor(exact, dtype=dtype, device=device))
    edge = torch.tensor([0.0, PI[dtype].item(), -1.0], dtype=dtype, device=device, requires_grad=True)
    (grad,) = torch.autograd.grad(hitpool.pseudorapidity(edge).sum(), edge)
    assert grad[:2].tolist() == [-math.inf, -math.inf]
    assert grad[2].isnan()


def test_gradients_and_second_gradients(device):
    theta = torch.linspace(0.2, 2.9, 12, dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(hitpool.pseudorapidity, theta)
    assert torch.autograd.gradgradcheck(hitpool.pseudorapidity, theta)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (0,), ()])
def test_opcheck(device, dtype, requires_grad, shape):
    theta = (0.2 + 2.5 * torch.rand(shape, dtype=torch.float64)).to(device, dtype).requires_grad_(requires_grad)
    torch.library.opcheck(torch.ops.hitpool.pseudorapidity.default, (theta,))
    theta = theta.detach()
    torch.library.opcheck(torch.ops.hitpool._pseudorapidity_backward.default, (torch.ones_like(theta), theta))


def test_compiles_as_one_graph_with_changing_sizes(device):
    compiled = torch.compile(lambda t: hitpool.pseudorapidity(t) * 2, fullgraph=True, dynamic=True, backend="aot_eager")
    for size in (5, 9, 30):
        theta = torch.linspace(0.1, 3.0, size, dtype=torch.float64, device=device, requires_grad=True)
        result = compiled(theta)
        result.sum().backward()
        torch.testing.assert_close(result, 2 * reference.pseudorapidity(theta))
        torch.testing.assert_close(theta.grad, -2 / theta.detach().sin())


def test_strides_and_threads(device):
    theta = torch.linspace(0.001, 3.1, 40_000, device=device).reshape(200, 200)
    expected = hitpool.pseudorapidity(theta)
    assert torch.equal(hitpool.pseudorapidity(theta.T), expected.T)
    assert torch.equal(hitpool.pseudorapidity(theta[::2, ::3]), expected[::2, ::3])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    single = hitpool.pseudorapidity(theta)
    torch.set_num_threads(threads)
    assert torch.equal(single, expected)


def test_runs_in_float32_under_autocast(device):
    theta = torch.linspace(0.1, 3.0, 20, device=device)
    expected = hitpool.pseudorapidity(theta)
    expected_low = hitpool.pseudorapidity(theta.bfloat16().float())
    with torch.autocast(device.type, dtype=torch.bfloat16):
        eta, low = hitpool.pseudorapidity(theta), hitpool.pseudorapidity(theta.bfloat16())
    assert eta.dtype == low.dtype == torch.float32
    assert torch.equal(eta, expected)
    assert torch.equal(low, expected_low)


def test_errors_name_the_argument():
    words = "hitpool::pseudorapidity: expected theta with dtype float64, float32, bfloat16 or float16, got Long"
    with pytest.raises(TypeError, match=words):
        hitpool.pseudorapidity(torch.tensor([1]))
