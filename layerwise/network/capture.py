"""One forward: the activation of every chosen layer goes to its receiver as soon as the layer has fired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from torch import Tensor, nn

from layerwise.errors import LayerNeverFired, UnknownName, nearest
from layerwise.network.layer import Layer, pick

__all__ = ["Capture", "unwrap"]

#: Takes a layer and its activation. It must use the activation at once: an in-place operation may change it afterwards.
Receiver = Callable[[Layer, Tensor], None]


class Capture:
    """Pass the activations of chosen layers to a receiver, from within the forward, and keep none of them.

    A context manager: its hooks are on the model while it is open, and are removed at the end, on exceptions too.

    Parameters
    ----------
    model : Module
    layers : sequence of Layer
    receive : callable
        Called as ``receive(layer, activation)``.
    attached : bool
        Whether activations keep their gradients, as a loss needs them.

    Raises
    ------
    UnknownName
        If a layer names no module of the model.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    >>> with Capture(net, [Layer("0")], lambda layer, value: print(layer.name, tuple(value.shape))) as capture:
    ...     with capture.forward():
    ...         _ = net(torch.ones(5, 2))
    0 (5, 3)
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer], receive: Receiver, *, attached: bool = False) -> None:
        self._receive = receive
        self._attached = attached
        self._layers = list(layers)
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._calls: Counter[tuple[str, str]] = Counter()
        self._fired: set[Layer] = set()
        self._handles = ExitStack()
        for layer in layers:
            if layer.path not in self._modules:
                raise UnknownName("module", layer.path, self._modules)

    def __enter__(self) -> Capture:
        chosen: dict[tuple[str, str], dict[int, list[Layer]]] = {}
        for layer in self._layers:
            chosen.setdefault((layer.path, layer.side), {}).setdefault(layer.call, []).append(layer)
        for (path, side), calls in chosen.items():
            module = self._modules[path]
            if side == "input":
                handle = module.register_forward_pre_hook(self._input_hook(path, calls), with_kwargs=True)
            else:
                handle = module.register_forward_hook(self._output_hook(path, calls))
            self._handles.callback(handle.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._handles.close()

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Wrap one forward: count the calls from one, and check that every layer fired.

        Raises
        ------
        LayerNeverFired
            If a layer's module was not called, or not often enough; the error names the first such layer.
        """
        self._calls.clear()
        self._fired.clear()
        yield
        silent = [layer.name for layer in self._layers if layer not in self._fired]
        if silent:
            fired = nearest(silent[0], [layer.name for layer in self._fired])
            hint = f"; nearest that did: {', '.join(fired)}" if fired else ""
            raise LayerNeverFired(f"the forward never called layer {silent[0]!r}{hint}")

    def _input_hook(self, path: str, calls: Mapping[int, list[Layer]]) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._take((path, "input"), calls, {**dict(enumerate(args)), **kwargs})

        return hook

    def _output_hook(self, path: str, calls: Mapping[int, list[Layer]]) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            self._take((path, "output"), calls, output)

        return hook

    def _take(self, key: tuple[str, str], calls: Mapping[int, list[Layer]], tensors: Any) -> None:
        self._calls[key] += 1
        for layer in calls.get(self._calls[key], ()):
            try:
                activation = pick(tensors, layer.item)
            except (LookupError, AttributeError, TypeError):
                activation = None
            if not isinstance(activation, Tensor):
                kind = type(tensors if activation is None else activation).__name__
                raise LayerNeverFired(f"layer {layer.name!r} gave a {kind} where its tensor was expected")
            # An activation without gradient is not detached: it may carry a tangent, which would be lost.
            detached = activation.requires_grad and not self._attached
            self._receive(layer, activation.detach() if detached else activation)
            self._fired.add(layer)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module to run: the original inside a compiled model, which skips hooks, or a data-parallel one.

    `DataParallel` would split the batch, `DistributedDataParallel` wait for the other processes.
    """
    while True:
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = cast(nn.Module, model._orig_mod)
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model
