"""Tensors without a kernel are refused in one line that names the argument."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import hitpool
from hitpool.ops.attention import attention
from hitpool.ops.solenoid_fit import solenoid_fit
from hitpool.ops.toroid_fit import toroid_fit

KINDS = {
    "layout Sparse; .*to_dense": Tensor.to_sparse,
    "layout SparseCsr; .*to_dense": Tensor.to_sparse_csr,
    "layout Mkldnn; .*to_dense": Tensor.to_mkldnn,
    "a nested tensor": lambda tensor: torch.nested.as_nested_tensor(list(tensor)),
    "a quantized tensor": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
}


def refused(call: Callable[[], Tensor], expected: str) -> None:
    with pytest.raises(TypeError, match=f"^hitpool::{expected}") as refusal:
        call()
    assert len(str(refusal.value).splitlines()[0]) < 160
    assert "backend" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore:.*(prototype|beta|deprecated)")
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize(("kind", "make"), KINDS.items())
def test_dense_tensors_are_expected(kind: str, make: Callable[[Tensor], Tensor], requires_grad: bool) -> None:
    logits, features = (torch.randn(2, *shape, requires_grad=requires_grad) for shape in ((3, 5), (5, 4)))
    changed = [make(tensor.detach()) for tensor in (logits, features)]
    op = "_weighted_pool_for_backward" if requires_grad else "weighted_pool"
    refused(lambda: hitpool.weighted_pool(changed[0], features), f"{op}: expected logits as a dense tensor, got {kind}")
    refused(lambda: hitpool.weighted_pool(logits, changed[1]), f"{op}: expected features as a dense tensor, got {kind}")
    refused(lambda: hitpool.pseudorapidity(changed[0]), f"pseudorapidity: expected theta as a dense .* got {kind}")
    for name, arguments in (("hits", (changed[1], logits.detach())), ("logits", (features.detach(), changed[0]))):
        refused(lambda given=arguments: toroid_fit(*given, None, [], [], []), f"toroid_fit: expected {name} .* {kind}")
        refused(
            lambda given=arguments: solenoid_fit(*given, None, 2.0, 0.1, []), f"solenoid_fit: expected {name} .* {kind}"
        )


def test_sparse_masks_keys_and_tables_are_refused() -> None:
    logits, features, valid = torch.randn(2, 3, 5), torch.randn(2, 5, 4), torch.ones(2, 5, dtype=torch.bool)
    query = torch.randn(2, 3, 2, 4)
    expected = "as a dense tensor, got layout Sparse"
    refused(
        lambda: hitpool.weighted_pool(logits, features, valid.to_sparse()), f"weighted_pool: expected valid {expected}"
    )
    refused(lambda: attention(query, query.to_sparse(), query), f"attention: expected key {expected}")
    refused(
        lambda: toroid_fit(features, logits, valid.to_sparse(), [], [], []), f"toroid_fit: expected valid {expected}"
    )
    refused(lambda: toroid_fit(features, logits, None, [], [], [query.to_sparse()]), f"toroid_fit: .* table {expected}")
