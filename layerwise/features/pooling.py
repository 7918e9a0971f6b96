"""How a network itself pools its positions, measured: which reduction gives what the network goes on with."""

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

# Enough to tell the rules apart, and unlike most lengths.
_SAMPLES = 4


@dataclass(frozen=True)
class Pooling:
    """How a network pools the positions of some of its layers.

    Attributes
    ----------
    how : str
        A reduction; empty where none gives what the network makes of them.
    operation : str
        The operation that makes one vector of positions.
    end : End, optional
        The token that is picked, where it is by the numbers of the tokens.
    """

    how: str
    operation: str
    end: End | None = None


@dataclass(frozen=True)
class Poolings:
    """How a network pools, layer by layer: towers pool in ways of their own.

    Attributes
    ----------
    found : tuple of (Junction, Pooling)
        Where positions become one vector, nearest to the output first.
    live : Graph or None
        Of the trace that they were found in.
    default : str
        What is taken where the network's own pooling is not followed.
    """

    found: tuple[tuple[Junction, Pooling], ...]
    live: Graph | None
    default: str

    def of(self, layer: Layer) -> Pooling:
        """How the network pools what a layer leads to; the default where that cannot be followed."""
        own = self._leads_to(layer)
        if own is None or not own.how:
            return Pooling(self.default, "" if own is None else own.operation)
        return own

    def flattens(self, layers: Sequence[Layer]) -> bool:
        """Whether layers that the network flattens are few enough features to be flattened, all of them."""
        return all(math.prod(layer.shape) <= WIDEST_FLAT for layer in layers if len(layer.shape) > 1)

    def told(self, layers: Sequence[Layer]) -> tuple[str, str]:
        """What the network does, in a word or two; and a line where ``auto`` differs from it, else nothing."""
        own = dict.fromkeys(pooling for pooling in map(self._leads_to, layers) if pooling is not None)
        own = own or dict.fromkeys(pooling for _, pooling in self.found)
        if not own or not any(sum(size > 1 for size in layer.shape) > 1 for layer in layers):
            return "none", ""
        said = ", ".join(dict.fromkeys(pooling.how or f"by {pooling.operation}" for pooling in own))
        missed = [pooling.operation for pooling in own if not pooling.how]
        several = self._several()
        if missed or several:
            what = f"by the operation {missed[0]!r}" if missed else f"in several ways ({several}) that it joins"
            return f"not followed: {several or said}", (
                f"the network makes one vector of its positions {what}, which no one reduction follows: "
                f"reduce='auto' takes {(self.default if missed else next(iter(own)).how)!r}, which differs from it"
            )
        if "flatten" in said and not self.flattens(layers):
            return "not followed: flatten", (
                f"the network flattens its positions, and layers here would have more than {WIDEST_FLAT:,} features: "
                "reduce='auto' averages over positions, which differs from it; reduce='flatten' or 'grid:k' keeps them"
            )
        return said, ""

    def _several(self) -> str:
        """Ways that one tower pools in at once; nothing where there is one."""
        if self.live is None:
            return ""
        ways: dict[int, dict[str, None]] = {}
        for junction, pooling in self.found:
            source = self.live.same(junction.source)
            ways.setdefault(self.live.seeds.get(source, 0), {})[pooling.how] = None
        return next((", ".join(how or "another" for how in own) for own in ways.values() if len(own) > 1), "")

    def _leads_to(self, layer: Layer) -> Pooling | None:
        """The pooling of the junction that a layer leads to, or the nearest where that is not known."""
        if not self.found or self.live is None:
            return None
        value = slots_of(self.live.trace).get(key_of(layer))
        if value is not None and self.live.flows(value):
            for junction, pooling in self.found:
                source = self.live.same(junction.source)
                if self.live.flows(source) and (self.live.same(value) == source or self.live.leads(value, source)):
                    return pooling
        return self.found[0][1]


def poolings_of(network: Network, batch: Batch) -> Poolings:
    """How a network pools its positions, measured on a few samples of a batch."""
    prefix = network.adapter.prefix_tokens(network.model, replace(batch, mask=None))
    return measured_poolings(network.model, network.adapter, batch, network.head, prefix)


def measured_poolings(model: nn.Module, adapter: Adapter, batch: Batch, head: str | None, prefix: int) -> Poolings:
    """Run a few samples, and see which reduction of the network's positions gives the vector that it goes on with.

    Parameters
    ----------
    model : Module
    adapter : Adapter
    batch : Batch
        Of its samples those of the least and the greatest length are taken.
    head : str, optional
        Path of the classifier, where it is known.
    prefix : int
        Class and register tokens in front.
    """
    default = adapter.pooling(model)
    few = unlike_samples(batch)
    try:
        traced, values = trace_with_tensors(model, lambda: adapter.forward(model, few))
    except Exception:
        # Networks that take no other batch than the whole: nothing is known of how they pool.
        return Poolings((), None, default)
    found = []
    for junction in junctions(traced, few.size, head):
        how, end = _match(junction, values, few, prefix)
        found.append((junction, Pooling(how, junction.operation, end)))
    default = pooling_of(traced, head) or default
    live = graph(traced, [slot for call in traced.calls for slot in call.outputs]) if found else None
    return Poolings(tuple(found), live, default)


def unlike_samples(batch: Batch) -> Batch:
    """Take the shortest, the longest, a middle sample and another, as far as a mask or the tokens tell."""
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
    """The reduction of the source that the network's own vector is, and the token that it picks; "" for none."""
    source = _samples_first(values[junction.source], batch.size)
    pooled = [_samples_first(values[value], batch.size) for value in junction.pooled]
    if source is None:
        return "", None
    vectors = [vector.flatten(1).double() for vector in pooled if vector is not None]
    best: tuple[str, End | None] = ("", None)
    least = math.inf
    picks = junction.operation in PICKS
    for how, end, features in _candidates(source, vectors, batch, prefix, picks=picks):
        for vector in vectors:
            if features.shape != vector.shape:
                continue
            error = _difference(features, vector)
            # The first of several that fit alike is the plainest.
            if error < 0.5 * least - 1e-7 and error < _tolerance(source):
                best, least = (how, end), error
    return best


def _candidates(
    source: Tensor, vectors: Sequence[Tensor], batch: Batch, prefix: int, *, picks: bool
) -> Iterator[tuple[str, End | None, Tensor]]:
    """Reductions of a source, the plainest first: their names, the token that they pick, and their features."""
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
    # Tokens that the mask knows one by one have none in front.
    ahead = 0 if mask is None else length - mask.shape[1]
    if mask is not None and ahead:
        mask = torch.cat([mask.new_ones(len(mask), ahead), mask], dim=1)
    tokens = Tokens(mask, ahead if mask is not None else prefix if length > prefix else 0)
    for how in ("cls", "mean", "max", "last"):
        yield how, None, reduce(source, how, -1, tokens).double()
    # A fixed position is no end of a text, whatever token stands there.
    ids = token_ids(batch.inputs) if picks else None
    if ids is not None and ids.shape == source.shape[:2]:
        ids = for_statistics(ids)
        same = [(source.double() == vector[:, None]).all(-1) for vector in vectors if _is_of(source, vector)]
        for end in possible_ends(ids, torch.stack(same).any(0)) if same else ():
            how = "last" if end.rule == "before" else "eos"
            yield how, end, reduce(source, "eos", -1, Tokens(end.mask(ids), 0)).double()
    # Prefix tokens among the rest; padding is never meant to count.
    if mask is None:
        yield "gap", None, source.double().mean(1)


def _is_of(source: Tensor, vector: Tensor) -> bool:
    return vector.shape[1] == source.shape[-1]


def _samples_first(value: Tensor, samples: int) -> Tensor | None:
    """A tensor of real numbers with its samples along the first axis; None where it has none."""
    value = for_statistics(value.detach())
    value = real_features(value, -1) if value.ndim else value
    if value.ndim and len(value) == samples:
        return value
    return value.transpose(0, 1) if value.ndim > 1 and value.shape[1] == samples else None


def _difference(one: Tensor, two: Tensor) -> float:
    scale = two.pow(2).mean().sqrt()
    return float((one - two).pow(2).mean().sqrt() / scale.clamp_min(1e-30))


def _tolerance(source: Tensor) -> float:
    return 8 * torch.finfo(source.dtype).eps if source.dtype in (torch.float16, torch.bfloat16) else 1e-4
