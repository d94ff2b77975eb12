"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import hitpool

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(hitpool.__path__, "hitpool.")
    if not module.name.endswith(("._C", "libhitpool_ops", "libhitpool_inference", "libhitpool_model"))
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    if name.startswith("hitpool.acts."):
        pytest.importorskip("acts", reason="ACTS is not installed (hitpool[acts])")
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(module, optionflags=flags)
    assert result.failed == 0


@pytest.mark.parametrize("name", ["weighted_pool", "pseudorapidity", "library_path"])
def test_the_public_functions_have_examples(name):
    assert doctest.DocTestFinder().find(getattr(hitpool, name))[0].examples
