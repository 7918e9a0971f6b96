"""Variability of intermediate layers as a term of the loss, read from the training's own forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.arguments import checked, number, whole
from layerwise.errors import InvalidData, InvalidLabels, LayerNeverFired
from layerwise.features.choose_readings import readings_of
from layerwise.features.end import token_ids
from layerwise.features.reading import LayerReading
from layerwise.features.reduction import DENSE
from layerwise.network.capture import Capture
from layerwise.network.graph.axes import measured_trace
from layerwise.network.graph.blocks import choose
from layerwise.network.graph.recorder import tensors
from layerwise.network.inference import fresh_autocast
from layerwise.network.layer import Layer
from layerwise.network.mask_names import named_inputs, named_tensors, with_masks
from layerwise.network.network import Network
from layerwise.network.resolve import find_network
from layerwise.settings import KINDS
from layerwise.training.losses.variability import within_class_variability

__all__ = ["SVSL"]


class SVSL:
    """Stochastic variability-simplification loss: a term that collapses intermediate layers while a network is trained.

    ``alpha/L sum_{j >= gamma} 1/K sum_c mean_{i in c} ||g_j(x_i) - mean_c g_j||^2`` over the ``L`` chosen layers
    ``g_j``, with the class means of the batch (`within_class_variability`). The layers are chosen and read as by
    `layerwise.profile`, from within the forward that the training runs anyway, with their gradients. A context manager:
    the network has hooks while it is open, and none afterwards. In ``[0, inf)``; 0 at collapse.

    Under `DistributedDataParallel` each process takes the means of its own share of the batch. Forwards without
    gradients, such as those of a validation, are left alone. Code that was compiled before runs no hooks.

    Parameters
    ----------
    model : Module
        The network, wrapped or not.
    alpha : float
        Weight of the term; it goes with the square of the features, so there is none for all networks.
    layers : str, sequence of str or callable
        ``"blocks"``, ``"stages"``, ``"leaves"``, names, globs or a function of a layer, as for `layerwise.profile`.
    gamma : int
        The first of the chosen layers that takes part, counted from 0: earlier ones stay free.
    warmup : int
        Steps without the term; calls are counted in `steps`, which a resumed training sets.
    reduce : str
        How activations become features, as for `layerwise.profile`.

    Raises
    ------
    InvalidData
        If a number is out of its range, or the network would cut batches over devices in threads.
    UnknownName, LayerNeverFired
        If there is no such reduction; in the first forward, if there is no such layer, or it never ran.

    References
    ----------
    Ben-Shaul & Dekel 2022, Nearest class-center simplification through intermediate layers.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    >>> x, y = torch.randn(30, 8), torch.arange(30) % 3
    >>> with SVSL(net, alpha=0.1) as svsl:
    ...     loss = nn.functional.cross_entropy(net(x), y) + svsl(y)
    ...     loss.backward()
    """

    @checked(
        KINDS,
        alpha=number("alpha is a finite weight of 0 or more", 0),
        gamma=whole("gamma is a whole number of 0 or more"),
        warmup=whole("warmup is a whole number of 0 or more"),
    )
    def __init__(
        self,
        model: nn.Module,
        *,
        alpha: float,
        layers: str | Sequence[str] | Callable[[Layer], bool] = "blocks",
        gamma: int = 0,
        warmup: int = 0,
        reduce: str = "auto",
    ) -> None:
        if reduce in DENSE:
            raise InvalidData(f"the term has one label a sample, and reduce={reduce!r} makes many samples of one")
        if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
            raise InvalidData("DataParallel cuts each batch over devices; train with DistributedDataParallel instead")
        self.alpha, self.gamma, self.warmup = alpha, gamma, warmup
        self.steps = 0
        self._chosen, self._reduce = layers, reduce
        self._network, _ = find_network(model, None)
        self._readings: dict[Layer, LayerReading] = {}
        self._layers = 0
        self._features: dict[str, Tensor] = {}
        self._mask: Tensor | None = None
        self._masks: Mapping[str, Tensor] = {}
        self._size = 0
        self._ids: Tensor | None = None
        self._hooks = ExitStack()
        # What is open from the beginning of a forward that is read to its end.
        self._forward: ExitStack | None = None
        self._capture: Capture | None = None

    @property
    def layers(self) -> list[str]:
        """Names of the layers that take part, in execution order; none before the first forward."""
        return [layer.name for layer in self._readings]

    def __enter__(self) -> SVSL:
        handle = self._network.model.register_forward_pre_hook(self._begin, with_kwargs=True)
        self._hooks.callback(handle.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the hooks off."""
        self._hooks.close()
        self._features.clear()
        self._forward = self._capture = None

    def __call__(self, labels: Tensor) -> Tensor:
        """The term for the forward that was run last, and one step counted.

        Parameters
        ----------
        labels : Tensor
            Classes of the batch, integers, shape ``(n,)``.

        Returns
        -------
        Tensor
            A scalar; 0 during warm-up.

        Raises
        ------
        LayerNeverFired
            If no forward with gradients was run since the last call.
        InvalidLabels
            If labels are no integers, or not as many as the samples of the forward.
        """
        self.steps += 1
        if self.steps <= self.warmup:
            return torch.zeros((), device=labels.device)
        features, self._features = self._features, {}
        if not features:
            raise LayerNeverFired(
                "no forward was read since the last call: run the network first, with gradients, while the term is "
                "open, and not as compiled code, which skips hooks"
            )
        for name, values in features.items():
            if len(values) != len(labels):
                raise InvalidLabels(f"layer {name!r} gives {len(values)} rows in this batch, for {len(labels)} labels")
        terms = [within_class_variability(values, labels) for values in features.values()]
        return self.alpha / self._layers * torch.stack([term.to(labels.device) for term in terms]).sum()

    def _begin(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not torch.is_grad_enabled():
            return
        self._features = {}
        batch = _batch(self._network, args, kwargs)
        self._mask, self._masks, self._size = batch.mask, batch.masks, batch.size
        self._ids = token_ids(named_inputs(self._network.model, args) | dict(kwargs))
        if self._capture is None:
            self._capture = self._open(batch)
        self._forward = None
        if self.steps >= self.warmup:
            self._forward = ExitStack()
            self._forward.enter_context(self._capture.forward())

    def _end(self, *_: object) -> None:
        forward, self._forward = self._forward, None
        if forward is not None:
            forward.close()

    def _receive(self, layer: Layer, activation: Tensor) -> None:
        # Checkpointing runs layers again in the backward, when their features were taken already.
        if self._forward is None:
            return
        if not torch.is_grad_enabled():
            raise InvalidData(
                f"layer {layer.name!r} runs without gradients, so no loss reaches it: choose others, or, where it is "
                "checkpointing that takes them off, use_reentrant=False"
            )
        rows = layer.samples_first(activation, self._size)
        features = self._readings[layer].read(rows, self._mask, self._ids, self._masks)
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        # An operation in place after the layer must not change what was read of it.
        shared = features.untyped_storage().data_ptr() == activation.untyped_storage().data_ptr()
        self._features[layer.name] = features.clone() if shared else features

    def _open(self, batch: Batch) -> Capture:
        """Choose the layers, from the first forward's own batch, and put the hooks on."""
        model = self._network.model
        with fresh_autocast():
            named = [name for part in batch.inputs.values() for name, _ in named_tensors(model, part)]
            traced = measured_trace(
                model, lambda part: model(*part.inputs["args"], **part.inputs["kwargs"]), batch, named
            )
            layers = choose(traced, self._chosen, self._network.head)
            readings = readings_of(self._network, traced, layers, batch, self._reduce, seed=0)
        if self.gamma >= len(readings):
            names = ", ".join(layer.name for layer in layers)
            raise InvalidData(f"gamma={self.gamma} leaves none of the {len(layers)} layers: {names}")
        self._layers = len(readings)
        self._readings = {reading.layer: reading for reading in readings[self.gamma :]}
        capture = self._hooks.enter_context(Capture(model, list(self._readings), self._receive, attached=True))
        # After those of the capture: the network itself may be a layer.
        self._hooks.callback(model.register_forward_hook(self._end).remove)
        return capture


def _batch(network: Network, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
    """What a forward takes, as a batch without labels; the first tensor says how many samples it has."""
    size = next((len(tensor) for _, tensor in tensors((args, dict(kwargs))) if tensor.ndim), None)
    if size is None:
        raise InvalidData("the network was called without a tensor, so there are no samples to read")
    named = named_inputs(network.model, args) | dict(kwargs)
    return with_masks(Batch({"args": args, "kwargs": dict(kwargs)}, {}, size), named, network.adapter.masks)
