"""Forward derivatives of products with weights, at the price of one product."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["SparingProducts"]

#: Takes ``(values, weight, bias)``; the result is linear in the values and in the weight.
Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]

_PRODUCTS = (
    functional.linear,
    functional.conv1d,
    functional.conv2d,
    functional.conv3d,
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
)


class SparingProducts(TorchFunctionMode):
    """While this mode is on, weights without a tangent add nothing to the derivative of a product with them.

    Torch's own derivative also multiplies by the weights' tangent, which is zero. Batch norm with fixed statistics is
    such a product too: each feature times its scale.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in _PRODUCTS and len(args) > 1:
            values, weight, *others = args
            bias = others.pop(0) if others else options.pop("bias", None)

            def product(values: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
                return func(values, weight, bias, *others, **options)

            return _Derived.apply(product, values, weight, bias)
        if func is functional.batch_norm and not options["training"]:
            values, mean, variance = args
            scale = (variance + options["eps"]).rsqrt()
            scale = scale if options["weight"] is None else scale * options["weight"]
            shift = -mean * scale if options["bias"] is None else options["bias"] - mean * scale
            return _Derived.apply(_scaled, values, scale.to(values.dtype), shift.to(values.dtype))
        return func(*args, **options)


class _Derived(Function):
    """A product whose derivative skips factors without a tangent."""

    @staticmethod
    def forward(product: Product, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return product(values, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.product, values, weight, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_forward(values, weight)

    @staticmethod
    def jvp(ctx: Any, _: None, values: Tensor | None, weight: Tensor | None, bias: Tensor | None) -> Tensor | None:
        of_values, of_weight = ctx.saved_tensors
        derived = [] if values is None else [ctx.product(values, of_weight, None)]
        if weight is not None:
            derived.append(ctx.product(of_values, weight, None))
        if bias is not None:
            derived.append(ctx.product(torch.zeros_like(of_values), of_weight, bias))
        return sum(derived[1:], start=derived[0]) if derived else None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], product: Product, values: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, int]:
        return torch.vmap(product, in_dims=in_dims[1:], randomness=info.randomness)(values, weight, bias), 0


def _scaled(values: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    """Multiply every feature by its scale; features are the second axis."""
    shape = (-1, *[1] * (values.ndim - 2))
    product = values * scale.view(shape)
    return product if shift is None else product.add_(shift.view(shape))
