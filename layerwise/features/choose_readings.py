"""Choose how each layer is read: ``auto`` made definite, and the features counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData
from layerwise.features.end import End
from layerwise.features.pooling import Pooling, Poolings
from layerwise.features.precision import rounding_of_arithmetic
from layerwise.features.reading import LayerReading
from layerwise.features.reduction import DENSE, Tokens, is_tokens, positions, reduce, reduction_of
from layerwise.features.sketch import Sketch
from layerwise.network.graph.pooling import pooling_of
from layerwise.network.graph.trace import Trace
from layerwise.network.layer import Layer
from layerwise.network.network import Network

__all__ = ["readings_of"]


def readings_of(
    network: Network,
    traced: Trace,
    layers: Sequence[Layer],
    batch: Batch,
    how: str,
    seed: int,
    poolings: Poolings | None = None,
) -> list[LayerReading]:
    """How each layer is read: ``auto`` made definite, and the features counted.

    Where every token or pixel is read, layers that have none, or not as many as there are labels, are left out.

    Parameters
    ----------
    network : Network
    traced : Trace
        Of a part of `batch`.
    layers : sequence of Layer
        Those of the trace that are read.
    batch : Batch
    how : str
        The reduction that the caller asked for.
    seed : int
        Of random projections.
    poolings : Poolings, optional
        How the network itself pools, as it was measured; else it is read off the trace.
    """
    prefixes = _prefixes(network, batch)
    virtual = network.adapter.virtual_tokens(network.model) > 0
    rescale = partial(network.adapter.mask_at, network.model)
    roundings = rounding_of_arithmetic(network.model, traced, layers)
    if poolings is None:
        default = pooling_of(traced, network.head) or network.adapter.pooling(network.model)
        poolings = Poolings((), None, default)
    flat = poolings.flattens(layers)
    lengths = {value.shape[1] for value in traced.values if len(value.shape) == 3 and value.floating}
    labelled = next((values.shape[1:] for values in batch.labels.values()), ())
    readings = []
    for layer in layers:
        sketched = how.startswith("sketch:")
        prefix = prefixes(layer)
        # Where as many tokens and the prefix are found elsewhere, the prefix has still to be put in front.
        headless = prefix > 0 and is_tokens(layer) and layer.shape[0] + prefix in lengths
        own = 0 if headless or not is_tokens(layer) or layer.shape[0] <= prefix else prefix
        rounding = roundings[layer]
        empty = torch.empty(1, *layer.shape, device="meta", dtype=torch.complex64 if layer.is_complex else None)
        if how in DENSE:
            apart = positions(empty, how, layer.channels, own, tuple(labelled))
            if apart is not None and (how == "pixels" or apart.shape[1:-1] == labelled[:1] or not labelled):
                where = tuple(apart.shape[1:-1])
                readings.append(LayerReading(layer, how, apart.shape[-1], None, own, where, rounding=rounding))
            continue
        pooling = poolings.of(layer)
        pooled = pooling.how if flat or pooling.how != "flatten" else "mean"
        reduction = reduction_of(layer, "flatten" if sketched else how, pooled, headless=headless)
        end = _end(pooling, reduction, layer, network)
        width = reduce(empty, "last" if end else reduction, layer.channels, Tokens(prefix=own)).shape[1]
        projection = Sketch(width, int(how[7:]), seed) if sketched and width > int(how[7:]) else None
        features = projection.width if projection else width
        readings.append(LayerReading(layer, reduction, features, projection, own, (), virtual, rescale, end, rounding))
    return readings


def _prefixes(network: Network, batch: Batch) -> Callable[[Layer], int]:
    """How many tokens a layer has in front of those of the input: of a picture, or of the text that the mask is of."""
    count = network.adapter.prefix_tokens
    picture = count(network.model, replace(batch, mask=None))
    text = picture if batch.mask is None else count(network.model, batch)

    def prefix(layer: Layer) -> int:
        if layer.axes.masked:
            return text if layer.axes.ahead == text else 0
        return picture if layer.axes.masked == () else text

    return prefix


def _end(pooling: Pooling, reduction: str, layer: Layer, network: Network) -> End | None:
    """The rule that picks the token of a layer, where its reduction takes one by the numbers of the tokens.

    Raises
    ------
    InvalidData
        If the end token was asked for, and nothing says which it is.
    """
    if not is_tokens(layer) or reduction not in ("last", "eos"):
        return None
    if pooling.end is not None and pooling.how == reduction:
        return pooling.end
    if reduction == "last":
        return None
    config = getattr(network.model, "config", None)
    token = getattr(config, "eos_token_id", None)
    if not isinstance(token, int):
        raise InvalidData(
            "reduce='eos' reads the token that ends a text, and nothing says which: the network does not pick it, "
            "and its configuration has no one 'eos_token_id'; 'last' reads the last token that is no padding"
        )
    return End("first", token)
