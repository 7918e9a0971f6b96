"""A stand-in for a device without float64, such as Apple's `mps`: computed on the CPU, and as strict as the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

_DEVICE = torch.device("mps")
_DOUBLE = (torch.float64, torch.complex128)
# Operations that take tensors of two devices.
_BETWEEN = ("_to_copy", "copy_", "index", "index_put_", "_index_put_impl_")


class OnDevice(Tensor):
    """A tensor that says it is on the device, and holds its values on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        """Refuse what the device cannot hold."""
        if held.dtype in _DOUBLE:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        made: OnDevice = Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, device=_DEVICE, **layout)
        made.held = held
        return made

    def data_ptr(self) -> int:
        """Where its values lie."""
        return self.held.data_ptr()

    @property
    def dequantize(self) -> None:
        """Stand for no other numbers, which only a subclass may."""
        raise AttributeError

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        return _run(function, args, kwargs or {})


class _Device(TorchDispatchMode):
    """Makes tensors on the device."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """Answers the calls that ask torch for the device's own driver before any operation runs."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        if name == "to":
            return _to(args[0], args[1:], kwargs)
        ours = bool(args) and isinstance(args[0], OnDevice)
        if ours and name in ("item", "tolist", "__float__", "__int__", "__bool__", "__index__"):
            return function(args[0].cpu(), *args[1:])
        if ours and name == "__getitem__":
            view, places = _view(args[0], args[1])
            return torch.ops.aten.index(view, places) if places else view
        if ours and name == "__setitem__":
            view, places = _view(args[0], args[1])
            value = args[2] if isinstance(args[2], Tensor) else view.new_full((), args[2])
            return torch.ops.aten.index_put_(view, places, value) if places else view.copy_(value)
        return function(*args, **kwargs)


def _view(values: Tensor, index: Any) -> tuple[Tensor, list[Tensor | None]]:
    """What slices and numbers leave of a tensor, and the places of it that tensors name."""
    items = list(index) if isinstance(index, tuple) else [index]
    if ... in [item for item in items if not isinstance(item, Tensor)]:
        at = next(number for number, item in enumerate(items) if item is ...)
        items[at : at + 1] = [slice(None)] * (values.ndim - sum(item is not None for item in items) + 1)
    places: list[Tensor | None] = []
    for item in items:
        if isinstance(item, int):
            values = values.select(len(places), item)
            continue
        if item is None:
            values = values.unsqueeze(len(places))
        elif isinstance(item, slice):
            values = torch.ops.aten.slice(values, len(places), item.start, item.stop, item.step or 1)
        places.append(torch.tensor(item) if isinstance(item, list) else item if isinstance(item, Tensor) else None)
    return values, places if any(place is not None for place in places) else []


def _to(values: Tensor, args: Any, kwargs: dict[str, Any]) -> Tensor:
    """`Tensor.to`."""
    if args and isinstance(args[0], Tensor):
        device, dtype = args[0].device, args[0].dtype
    else:
        places = {key: value for key, value in kwargs.items() if key in ("device", "dtype", "non_blocking")}
        device, dtype, *_ = torch._C._nn._parse_to(*args, **places)
    device, dtype = device or values.device, dtype or values.dtype
    if (device.type, dtype) == (values.device.type, values.dtype) and not kwargs.get("copy"):
        return values
    found: Tensor = torch.ops.aten._to_copy(values, device=device, dtype=dtype)
    return found


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [item for item in tree_leaves((args, kwargs)) if isinstance(item, Tensor)]
    ours = [item for item in tensors if isinstance(item, OnDevice)]
    name = function._schema.name.removeprefix("aten::")
    given = kwargs.get("device")
    if not ours and (given is None or torch.device(given).type != _DEVICE.type):
        return function(*args, **kwargs)
    if name not in _BETWEEN and any(item.ndim and not isinstance(item, OnDevice) for item in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device, in {name}")
    stays = isinstance(args[0], OnDevice) if args else True
    if given is not None:
        stays = torch.device(given).type == _DEVICE.type
    # A cast comes before the copy.
    if kwargs.get("dtype") in _DOUBLE and ours:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
    inner_args, inner = tree_map_only(OnDevice, lambda item: item.held, (args, kwargs))
    inner |= {} if given is None else {"device": "cpu"}
    found = function(*inner_args, **inner)
    if not stays and args and not isinstance(args[0], (list, tuple)):
        return args[0] if name == "copy_" else found.clone() if ours and found is inner_args[0] else found
    found = tree_map_only(Tensor, OnDevice, found)
    return return_and_correct_aliasing(function, args, kwargs, found)


@contextmanager
def single_precision_device() -> Iterator[None]:
    """Have the device."""
    with _Device(), _Calls():
        yield


def on_device(model: nn.Module) -> nn.Module:
    """Bring the weights of a network to the device, in place."""
    for module in model.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                module._parameters[name] = nn.Parameter(OnDevice(weight.detach()), requires_grad=False)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = OnDevice(buffer)
    return model
