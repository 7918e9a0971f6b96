"""Derivatives of products with weights are torch's own, without the product with a tangent that is zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from layerwise.features.derivatives.products import SparingProducts

# Of torch's own, the first time that anything is derived.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")

MAPS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 4), (3, 6)),
    "linear without bias": (nn.Linear(6, 4, bias=False), (3, 6)),
    "convolution": (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (3, 4, 7, 7)),
    "convolution of one dim": (nn.Conv1d(4, 6, 3, padding="same"), (3, 4, 7)),
    "transposed convolution": (nn.ConvTranspose2d(4, 6, 3, stride=2), (3, 4, 5, 5)),
    "batch norm": (nn.BatchNorm2d(4), (3, 4, 5, 5)),
    "batch norm of vectors": (nn.BatchNorm1d(4), (3, 4)),
    "batch norm without weights": (nn.BatchNorm2d(4, affine=False), (3, 4, 5, 5)),
}


def derived(function: Callable[[Tensor], Tensor], values: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    value, tangents = torch.vmap(lambda one: torch.func.jvp(function, (values,), (one,)))(along)
    return value, tangents


@pytest.mark.parametrize("name", MAPS)
def test_values_and_derivatives_are_those_of_torch(name):
    module, shape = MAPS[name]
    module = module.double().eval()
    torch.manual_seed(0)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2.0)
    values, along = torch.randn(shape).double(), torch.randn(5, *shape).double()
    expected = derived(module, values, along)
    with SparingProducts():
        found = derived(module, values, along)
    torch.testing.assert_close(found, expected)


def test_a_weight_that_depends_on_the_input_is_differentiated():
    torch.manual_seed(0)
    values, along = torch.randn(3, 4).double(), torch.randn(5, 3, 4).double()

    def gated(values: Tensor) -> Tensor:
        return functional.linear(values.tanh(), values.T @ values, values.sum(0))

    def of_the_weight_alone(values: Tensor) -> Tensor:
        return functional.linear(torch.ones(2, 4).double(), values * 2, bias=None)

    for function in (gated, of_the_weight_alone):
        expected = derived(function, values, along)
        with SparingProducts():
            torch.testing.assert_close(derived(function, values, along), expected)


def test_batch_norm_in_training_is_left_to_torch():
    module, values = nn.BatchNorm1d(4).double().train(), torch.randn(6, 4).double()
    along = torch.randn(2, 6, 4).double()
    expected = derived(lambda values: functional.batch_norm(values, None, None, training=True), values, along)
    with SparingProducts():
        found = derived(lambda values: functional.batch_norm(values, None, None, training=True), values, along)
        module(values)
    torch.testing.assert_close(found, expected)
    assert int(module.num_batches_tracked) == 1


def test_products_can_be_batched():
    module, values = nn.Conv1d(2, 3, 3), torch.randn(5, 4, 2, 8)
    with SparingProducts():
        found = torch.vmap(module)(values)
    torch.testing.assert_close(found, torch.stack([module(one) for one in values]))


def test_zero_tangents_are_not_multiplied():
    class Counting(TorchDispatchMode):
        convolutions = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.convolutions += func is torch.ops.aten.convolution.default
            return func(*args, **(kwargs or {}))

    module, values, along = nn.Conv2d(2, 3, 3), torch.randn(1, 2, 5, 5), torch.randn(4, 1, 2, 5, 5)
    counts = []
    for mode in (SparingProducts(), None):
        with Counting() as counting:
            if mode is None:
                derived(module, values, along)
            else:
                with mode:
                    derived(module, values, along)
        counts.append(counting.convolutions)
    assert counts == [2, 3]
