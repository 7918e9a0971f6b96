"""How a network itself pools its positions, measured: which reduction equals the vector that it goes on with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from layerwise.adapters.protocol import Adapter, Batch
from layerwise.features.complex_features import real_features
from layerwise.features.end import End, possible_ends, token_ids
from layerwise.features.reduction import Tokens, reduce
from layerwise.network.graph.dataflow import Graph, graph
from layerwise.network.graph.pooling import PICKS, Junction, junctions, pooling_of
from layerwise.network.graph.shapes import key_of, slots_of
from layerwise.network.graph.trace import trace_with_tensors
from layerwise.network.layer import Layer
from layerwise.network.network import Network
from layerwise.network.rows import with_rows
from layerwise.runtime.statistics_device import for_statistics

__all__ = ["Pooling", "Poolings", "measured_poolings", "poolings_of", "unlike_samples"]

#: Maps and tokens are flattened, as the network does, up to so many features.
WIDEST_FLAT = 8192

# Enough to distinguish the rules, and unlike most lengths.
_SAMPLES = 4


@dataclass(frozen=True)
class Pooling:
    """How a network pools the positions of some of its layers.

    Attributes
    ----------
    reduction : str
        The reduction that the network makes of them; empty where it is none of ours.
    operation : str
        The operation that makes one vector of positions.
    end : End, optional
        The rule that picks a token, where the network picks one by the numbers of the tokens.
    """

    reduction: str
    operation: str
    end: End | None = None


@dataclass(frozen=True)
class Poolings:
    """How a network pools, layer by layer: towers pool in ways of their own.

    Attributes
    ----------
    measured : tuple of (Junction, Pooling)
        Where positions become one vector, nearest to the output first.
    live : Graph or None
        Graph of the trace in which they were found.
    default : str
        The reduction where the network's own pooling cannot be followed.
    """

    measured: tuple[tuple[Junction, Pooling], ...]
    live: Graph | None
    default: str

    def of(self, layer: Layer) -> Pooling:
        """Return how the network pools the positions that a layer leads to; the default where that is unknown."""
        pooling = self._leads_to(layer)
        if pooling is None or not pooling.reduction:
            return Pooling(self.default, "" if pooling is None else pooling.operation)
        return pooling

    def flattens(self, layers: Sequence[Layer]) -> bool:
        """Return whether every layer with positions is narrow enough to be flattened."""
        return all(math.prod(layer.shape) <= WIDEST_FLAT for layer in layers if len(layer.shape) > 1)

    def told(self, layers: Sequence[Layer]) -> tuple[str, str]:
        """Describe the network's pooling in a word or two, and in a line how ``auto`` differs from it, if it does."""
        poolings = dict.fromkeys(pooling for pooling in map(self._leads_to, layers) if pooling is not None)
        poolings = poolings or dict.fromkeys(pooling for _, pooling in self.measured)
        if not poolings or not any(sum(size > 1 for size in layer.shape) > 1 for layer in layers):
            return "none", ""
        names = ", ".join(dict.fromkeys(pooling.reduction or f"by {pooling.operation}" for pooling in poolings))
        missed = [pooling.operation for pooling in poolings if not pooling.reduction]
        several = self._several()
        if missed or several:
            way = f"by the operation {missed[0]!r}" if missed else f"in several ways ({several}) that it joins"
            taken = self.default if missed else next(iter(poolings)).reduction
            return f"not followed: {several or names}", (
                f"the network makes one vector of its positions {way}, which no one reduction follows: "
                f"reduce='auto' takes {taken!r}, which differs from it"
            )
        if "flatten" in names and not self.flattens(layers):
            return "not followed: flatten", (
                f"the network flattens its positions, and layers here would have more than {WIDEST_FLAT:,} features: "
                "reduce='auto' averages over positions, which differs from it; reduce='flatten' or 'grid:k' keeps them"
            )
        return names, ""

    def _several(self) -> str:
        """Name the ways in which one tower pools at once; empty where there is one."""
        if self.live is None:
            return ""
        towers: dict[int, dict[str, None]] = {}
        for junction, pooling in self.measured:
            source = self.live.same(junction.source)
            towers.setdefault(self.live.seeds.get(source, 0), {})[pooling.reduction] = None
        several = next((reductions for reductions in towers.values() if len(reductions) > 1), {})
        return ", ".join(reduction or "another" for reduction in several)

    def _leads_to(self, layer: Layer) -> Pooling | None:
        """Return the pooling of the junction that a layer leads to; of the nearest one where that is unknown."""
        if not self.measured or self.live is None:
            return None
        value = slots_of(self.live.trace).get(key_of(layer))
        if value is not None and self.live.flows(value):
            for junction, pooling in self.measured:
                source = self.live.same(junction.source)
                if self.live.flows(source) and (self.live.same(value) == source or self.live.leads(value, source)):
                    return pooling
        return self.measured[0][1]


def poolings_of(network: Network, batch: Batch) -> Poolings:
    """Measure how a network pools its positions, on a few samples of a batch."""
    prefix = network.adapter.prefix_tokens(network.model, replace(batch, mask=None))
    return measured_poolings(network.model, network.adapter, batch, network.head, prefix)


def measured_poolings(model: nn.Module, adapter: Adapter, batch: Batch, head: str | None, prefix: int) -> Poolings:
    """Run a few samples, and find the reduction of the network's positions that equals the vector it goes on with.

    Parameters
    ----------
    model : Module
    adapter : Adapter
    batch : Batch
        Samples of the least and the greatest length are taken.
    head : str, optional
        Path of the classifier, where it is known.
    prefix : int
        Class and register tokens in front.

    Returns
    -------
    Poolings
    """
    default = adapter.pooling(model)
    few = unlike_samples(batch)
    try:
        traced, values = trace_with_tensors(model, lambda: adapter.forward(model, few))
    except Exception:
        # How a network pools that runs only on the whole batch stays unknown.
        return Poolings((), None, default)
    measured = []
    for junction in junctions(traced, few.size, head):
        reduction, end = _match(junction, values, few, prefix)
        measured.append((junction, Pooling(reduction, junction.operation, end)))
    default = pooling_of(traced, head) or default
    live = graph(traced, [slot for call in traced.calls for slot in call.outputs]) if measured else None
    return Poolings(tuple(measured), live, default)


def unlike_samples(batch: Batch) -> Batch:
    """Take the shortest, the longest, a middle sample and another, as far as a mask or the tokens show lengths."""
    ids = token_ids(batch.inputs)
    if batch.mask is not None:
        lengths = batch.mask.sum(1)
    elif ids is not None:
        lengths = (ids != ids[:, -1:]).sum(1)
    else:
        lengths = torch.arange(batch.size)
    order = lengths.argsort(stable=True).tolist()
    chosen = list(dict.fromkeys([order[0], order[-1], order[len(order) // 2], *order]))[:_SAMPLES]
    return with_rows(batch, sorted(chosen))


def _match(junction: Junction, values: Sequence[Tensor], batch: Batch, prefix: int) -> tuple[str, End | None]:
    """Find the reduction of the source that equals the network's vector, and the token that it picks; "" for none."""
    source = _samples_first(values[junction.source], batch.size)
    pooled = [_samples_first(values[value], batch.size) for value in junction.pooled]
    if source is None:
        return "", None
    vectors = [vector.flatten(1).double() for vector in pooled if vector is not None]
    best: tuple[str, End | None] = ("", None)
    least = math.inf
    picks = junction.operation in PICKS
    for reduction, end, features in _candidates(source, vectors, batch, prefix, picks=picks):
        for vector in vectors:
            if features.shape != vector.shape:
                continue
            error = _difference(features, vector)
            # Of several that fit alike, the first is the plainest.
            if error < 0.5 * least - 1e-7 and error < _tolerance(source):
                best, least = (reduction, end), error
    return best


def _candidates(
    source: Tensor, vectors: Sequence[Tensor], batch: Batch, prefix: int, *, picks: bool
) -> Iterator[tuple[str, End | None, Tensor]]:
    """Yield reductions of a source, the plainest first: their name, the rule that picks their token, their features."""
    widths = {vector.shape[1] for vector in vectors}
    if source[0].numel() in widths:
        for order in (source, source.movedim(1, -1), source.movedim(-1, 1)):
            yield "flatten", None, order.flatten(1).double()
    if source.ndim == 3 and source.shape[2] in widths:
        yield from _of_tokens(source, vectors, batch, prefix, picks=picks)
    for axis in range(1, source.ndim):
        if source.shape[axis] in widths and (source.ndim > 3 or axis == 1):
            positions = source.movedim(axis, -1).flatten(1, -2).double()
            yield "gap", None, positions.mean(1)
            yield "max", None, positions.amax(1)


def _of_tokens(
    source: Tensor, vectors: Sequence[Tensor], batch: Batch, prefix: int, *, picks: bool
) -> Iterator[tuple[str, End | None, Tensor]]:
    length = source.shape[1]
    mask = batch.mask if batch.mask is not None and length - batch.mask.shape[1] in (0, prefix) else None
    # Where the mask has every token, there are none in front.
    ahead = 0 if mask is None else length - mask.shape[1]
    if mask is not None and ahead:
        mask = torch.cat([mask.new_ones(len(mask), ahead), mask], dim=1)
    tokens = Tokens(mask, ahead if mask is not None else prefix if length > prefix else 0)
    for reduction in ("cls", "mean", "max", "last"):
        yield reduction, None, reduce(source, reduction, -1, tokens).double()
    # A fixed position is no end of a text, whatever token stands there.
    ids = token_ids(batch.inputs) if picks else None
    if ids is not None and ids.shape == source.shape[:2]:
        ids = for_statistics(ids)
        same = [(source.double() == vector[:, None]).all(-1) for vector in vectors if _is_of(source, vector)]
        for end in possible_ends(ids, torch.stack(same).any(0)) if same else ():
            reduction = "last" if end.rule == "before" else "eos"
            yield reduction, end, reduce(source, "eos", -1, Tokens(end.mask(ids), 0)).double()
    # The mean may include prefix tokens, but never padding.
    if mask is None:
        yield "gap", None, source.double().mean(1)


def _is_of(source: Tensor, vector: Tensor) -> bool:
    return vector.shape[1] == source.shape[-1]


def _samples_first(value: Tensor, samples: int) -> Tensor | None:
    """Return a tensor of real numbers with its samples along the first axis; None where it has none."""
    value = for_statistics(value.detach())
    value = real_features(value, -1) if value.ndim else value
    if value.ndim and len(value) == samples:
        return value
    return value.transpose(0, 1) if value.ndim > 1 and value.shape[1] == samples else None


def _difference(features: Tensor, vector: Tensor) -> float:
    scale = vector.pow(2).mean().sqrt()
    return float((features - vector).pow(2).mean().sqrt() / scale.clamp_min(1e-30))


def _tolerance(source: Tensor) -> float:
    return 8 * torch.finfo(source.dtype).eps if source.dtype in (torch.float16, torch.bfloat16) else 1e-4
