"""Squared derivatives of every layer with respect to the input, by forward-mode differentiation."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData, LayerwiseError, NoForwardDerivative
from layerwise.features.derivatives.directions import TOGETHER, Directions
from layerwise.features.derivatives.products import SparingProducts
from layerwise.features.read_features import reading_features
from layerwise.features.reading import LayerReading
from layerwise.network.network import Network
from layerwise.network.rows import part_of
from layerwise.runtime.tensors import map_tensors, tensors_of

__all__ = ["differentiating"]

_WAYS_OUT = "write it in operations of torch, or leave out the metrics of geometric complexity"


@contextmanager
def differentiating(
    network: Network, readings: Sequence[LayerReading], directions: Directions
) -> Iterator[Callable[[Batch], dict[str, tuple[Tensor, Tensor]]]]:
    """Hook the layers of a network; yield a function that differentiates a batch.

    A direction ``v`` enters as the tangent of the input, and the tangent of every layer is ``J v``, so that one forward
    serves all layers. The input is its tensors of real numbers, else the embeddings of its tokens; padding has no
    tangent. Directions share a forward (`torch.vmap`) where the network can run so, and batches are cut so that no more
    samples run at once than in one batch.

    Parameters
    ----------
    network : Network
    readings : sequence of LayerReading
    directions : Directions

    Yields
    ------
    callable
        Takes a batch; returns ``||dh_i/dx_i||_F^2`` of every sample and its squared standard error, by layer.

    Raises
    ------
    NoForwardDerivative
        If the forward has an operation without a forward-mode derivative.
    InvalidData
        If no input is of real numbers, and no embedding takes one.
    """
    taken: dict[str, Tensor] = {}

    def receive(reading: LayerReading, features: Tensor) -> None:
        taken[reading.name] = features

    # Fused attention has no forward-mode derivative.
    attention, products = sdpa_kernel(SDPBackend.MATH), SparingProducts()
    with attention, products, warnings.catch_warnings(), reading_features(network, readings, receive) as run:
        # Torch warns of itself the first time that anything is differentiated.
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        yield _Differentiation(network, readings, directions, run, taken).of


class _Differentiation:
    """The state while a network is differentiated: its hooks, and where in it the input becomes real numbers."""

    def __init__(
        self,
        network: Network,
        readings: Sequence[LayerReading],
        directions: Directions,
        run: Callable[[Batch], Any],
        taken: dict[str, Tensor],
    ) -> None:
        self._network = network
        self._names = [reading.name for reading in readings]
        self._directions = directions
        self._run = run
        self._taken = taken
        self._together = True
        self._embedding: tuple[nn.Embedding, int] | None = None

    def of(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the estimate and its squared standard error for every sample of a batch, by layer."""
        step = -(-batch.size // TOGETHER)
        parts = [self._of_part(part_of(batch, start, start + step)) for start in range(0, batch.size, step)]
        estimates = {}
        for name in self._names:
            total, squared = (torch.cat(sums) for sums in zip(*(part[name] for part in parts), strict=True))
            estimates[name] = self._directions.estimate(total, squared)
        return estimates

    def _of_part(self, part: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the sums over the directions of ``||J v||^2`` and of its square, by layer."""
        origins = self._origins(part)
        width = sum(value[0].numel() for value in origins)
        sums: dict[str, tuple[Tensor, Tensor]] = {}
        for block in self._directions.blocks(part.size, width, self._network.device):
            for name, norms in self._norms(part, origins, _tangents(block, origins, part.mask)).items():
                new = norms.sum(0), (norms**2).sum(0)
                old = sums.get(name)
                sums[name] = new if old is None else (old[0] + new[0], old[1] + new[1])
        return sums

    def _origins(self, part: Batch) -> list[Tensor]:
        """Return the tensors to differentiate by: real inputs, or a shift of the embeddings that is zero."""
        real = [value for value in tensors_of(part.inputs) if _is_real(value, part)]
        if real:
            return real
        if self._embedding is None:
            self._embedding = self._find_embedding(part)
        module, place = self._embedding
        tokens = tensors_of(part.inputs)[place]
        return [torch.zeros(*tokens.shape, module.embedding_dim, dtype=module.weight.dtype, device=tokens.device)]

    def _find_embedding(self, part: Batch) -> tuple[nn.Embedding, int]:
        """Find the first embedding that takes an input as it is, and which of the inputs it takes."""
        few = part_of(part, 0, 1)
        addresses = [value.data_ptr() for value in tensors_of(few.inputs)]
        embeddings: list[tuple[nn.Embedding, int]] = []

        def compare(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            tokens = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
            if isinstance(module, nn.Embedding) and tokens is not None and tokens.data_ptr() in addresses:
                embeddings.append((module, addresses.index(tokens.data_ptr())))

        with ExitStack() as stack:
            for module in self._network.model.modules():
                if isinstance(module, nn.Embedding):
                    stack.callback(module.register_forward_pre_hook(compare, with_kwargs=True).remove)
            self._run(few)
        if not embeddings:
            raise InvalidData(
                "there is nothing to derive with respect to: no input is of real numbers, and no embedding takes one"
            )
        return embeddings[0]

    def _norms(self, part: Batch, origins: Sequence[Tensor], tangents: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return ``||J v||^2`` for a few directions, shape ``(k, n)``, by layer."""
        if self._together:
            try:
                along = partial(self._norms_together, part, origins)
                return dict(torch.vmap(along, randomness="same")(*tangents))
            except LayerwiseError:
                raise
            except Exception:
                # Not every operation runs for several directions at once; one that cannot run at all fails below.
                self._together = False
        several = [self._norms_alone(part, origins, directions) for directions in zip(*tangents, strict=True)]
        return {name: torch.stack([norms[name] for norms in several]) for name in self._names}

    def _norms_together(self, part: Batch, origins: Sequence[Tensor], *tangents: Tensor) -> dict[str, Tensor]:
        def features(*inputs: Tensor) -> dict[str, Tensor]:
            return self._features(part, inputs)

        pair = torch.func.jvp(features, tuple(origins), tangents)
        return {name: _square(pair[0][name], pair[1][name]) for name in self._names}

    def _norms_alone(self, part: Batch, origins: Sequence[Tensor], tangents: Sequence[Tensor]) -> dict[str, Tensor]:
        with forward_ad.dual_level():
            inputs = [forward_ad.make_dual(origins[place], along) for place, along in enumerate(tangents)]
            try:
                duals = self._features(part, inputs)
            except (NotImplementedError, RuntimeError) as error:
                if isinstance(error, LayerwiseError) or not re.search(r"forward.mode|forward AD", str(error)):
                    raise
                raise self._explained(error) from error
            pairs = {name: forward_ad.unpack_dual(dual) for name, dual in duals.items()}
            return {name: _square(pair.primal, pair.tangent) for name, pair in pairs.items()}

    def _features(self, part: Batch, origins: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the features of every layer for inputs that carry tangents."""
        self._taken.clear()
        if self._embedding is None:
            remaining = iter(origins)
            inputs = map_tensors(part.inputs, lambda value: next(remaining) if _is_real(value, part) else value)
            self._run(replace(part, inputs=inputs))
        else:
            with _shifted(self._embedding[0], origins[0]):
                self._run(part)
        return dict(self._taken)

    def _explained(self, error: Exception) -> NoForwardDerivative:
        """Explain a missing derivative to the caller: which operation has none, and where it runs."""
        match = re.search(r"forward AD with (\S+)", str(error))
        operation = f"operation {match[1]!r}" if match else "a custom autograd function"
        next_layer = next((name for name in self._names if name not in self._taken), None)
        where = f"before layer {next_layer!r}" if next_layer else "after the last layer"
        return NoForwardDerivative(f"{operation}, which runs {where}, has no forward-mode derivative; {_WAYS_OUT}")


def _is_real(value: Tensor, part: Batch) -> bool:
    """Return whether an input is of real numbers, with a row for every sample, and no mask."""
    mask = part.mask is not None and value.shape == part.mask.shape and value.data_ptr() == part.mask.data_ptr()
    return value.is_floating_point() and value.ndim > 0 and len(value) == part.size and not mask


def _tangents(block: Tensor, origins: Sequence[Tensor], mask: Tensor | None) -> list[Tensor]:
    """Cut directions ``(k, n, width)`` into tangents of every origin, ``(k, *shape)``; those of padding are zero."""
    tangents = []
    for flat, origin in zip(block.split([value[0].numel() for value in origins], dim=2), origins, strict=True):
        tangent = flat.reshape(len(block), *origin.shape).to(origin)
        if mask is not None and mask.shape == origin.shape[:2]:
            tangent = tangent * (mask != 0).reshape(*mask.shape, *[1] * (origin.ndim - 2)).to(origin)
        tangents.append(tangent)
    return tangents


def _square(features: Tensor, derived: Tensor | None) -> Tensor:
    """Return the squared norms of tangents ``(n, d)``, NaN where the features themselves are not finite."""
    finite = torch.isfinite(features).all(1)
    norms = finite.double() * 0 if derived is None else derived.double().square().sum(1)
    return torch.where(finite, norms, torch.nan)


@contextmanager
def _shifted(module: nn.Embedding, shift: Tensor) -> Iterator[None]:
    """Add a tensor to the output of a module's first call, before any other hook sees it."""
    calls = count()

    def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor | None:
        return output + shift if next(calls) == 0 else None

    handle = module.register_forward_hook(hook, prepend=True)
    try:
        yield
    finally:
        handle.remove()
