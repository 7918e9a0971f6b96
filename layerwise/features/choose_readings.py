"""Choose how each layer is read: replace ``auto`` by a reduction, and count the features that it makes."""

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
from layerwise.network.graph.records import Trace
from layerwise.network.layer import Layer
from layerwise.network.network import Network

__all__ = ["readings_of"]


def readings_of(
    network: Network,
    traced: Trace,
    layers: Sequence[Layer],
    batch: Batch,
    requested: str,
    seed: int,
    poolings: Poolings | None = None,
) -> list[LayerReading]:
    """Choose the reading of each layer: its reduction, its number of features, and the tokens that it reads.

    Where every token or pixel is read, layers without tokens or pixels, or with another number of them than the labels
    have, are left out.

    Parameters
    ----------
    network : Network
    traced : Trace
        Trace of the network on a part of `batch`.
    layers : sequence of Layer
        The layers of the trace that are read.
    batch : Batch
    requested : str
        The reduction that the caller asked for, such as ``auto`` or ``sketch:512``.
    seed : int
        Seed of random projections.
    poolings : Poolings, optional
        How the network itself pools, as it was measured. By default the trace shows it.

    Returns
    -------
    list of LayerReading

    Raises
    ------
    InvalidData
        If the end token was asked for, and nothing shows which it is.
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
    labelled = tuple(next((values.shape[1:] for values in batch.labels.values()), ()))
    sketched = requested.startswith("sketch:")
    readings = []
    for layer in layers:
        model_prefix = prefixes(layer)
        # If another layer has as many tokens and the prefix, the network puts the prefix in front later.
        headless = model_prefix > 0 and is_tokens(layer) and layer.shape[0] + model_prefix in lengths
        prefix = 0 if headless or not is_tokens(layer) or layer.shape[0] <= model_prefix else model_prefix
        empty = torch.empty(1, *layer.shape, device="meta", dtype=torch.complex64 if layer.is_complex else None)
        if requested in DENSE:
            dense = _dense_reading(layer, requested, empty, prefix, labelled)
            readings += [] if dense is None else [replace(dense, rounding=roundings[layer])]
            continue
        pooling = poolings.of(layer)
        pooled = pooling.reduction if flat or pooling.reduction != "flatten" else "mean"
        reduction = reduction_of(layer, "flatten" if sketched else requested, pooled, headless=headless)
        end = _end(pooling, reduction, layer, network)
        width = reduce(empty, "last" if end else reduction, layer.channels, Tokens(prefix=prefix)).shape[1]
        projected = int(requested[7:]) if sketched else width
        projection = Sketch(width, projected, seed) if width > projected else None
        readings.append(
            LayerReading(
                layer,
                reduction,
                min(width, projected),
                projection,
                prefix,
                virtual=virtual,
                rescale=rescale,
                end=end,
                rounding=roundings[layer],
            )
        )
    return readings


def _dense_reading(
    layer: Layer, reduction: str, empty: torch.Tensor, prefix: int, labelled: tuple[int, ...]
) -> LayerReading | None:
    """Return the reading of every token or pixel of a layer; None where it has none, or not those of the labels."""
    rows = positions(empty, reduction, layer.channels, prefix, labelled)
    if rows is None or (reduction == "tokens" and labelled and rows.shape[1:-1] != labelled[:1]):
        return None
    return LayerReading(layer, reduction, rows.shape[-1], None, prefix, tuple(rows.shape[1:-1]))


def _prefixes(network: Network, batch: Batch) -> Callable[[Layer], int]:
    """Count the tokens that a layer has in front of those of the input: of a picture, or of the text under the mask."""
    count = network.adapter.prefix_tokens
    picture = count(network.model, replace(batch, mask=None))
    text = picture if batch.mask is None else count(network.model, batch)

    def prefix(layer: Layer) -> int:
        if layer.axes.masked:
            return text if layer.axes.ahead == text else 0
        return picture if layer.axes.masked == () else text

    return prefix


def _end(pooling: Pooling, reduction: str, layer: Layer, network: Network) -> End | None:
    """Return the rule that picks the token of a layer, where its reduction picks one by the numbers of the tokens.

    Raises
    ------
    InvalidData
        If the end token was asked for, and nothing shows which it is.
    """
    if not is_tokens(layer) or reduction not in ("last", "eos"):
        return None
    if pooling.end is not None and pooling.reduction == reduction:
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
