"""The same batch with another length or size, on which a network is run to measure its axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.network.rows import has_rows
from layerwise.runtime.tensors import map_tensors, tensors_of

__all__ = ["Extent", "extents_of", "padded", "with_extent"]


@dataclass(frozen=True)
class Extent:
    """A length or a size of the inputs: the axes that have it, in the tensors that share it.

    Attributes
    ----------
    axes : dict of int to tuple of int
        Axes by the position of a tensor in the inputs, in the order of `layerwise.runtime.tensors.tensors_of`.
    masks : tuple of str
        The batch's masks among those tensors.
    """

    axes: dict[int, tuple[int, ...]]
    masks: tuple[str, ...] = ()


def extents_of(batch: Batch, names: Sequence[str] = ()) -> list[Extent]:
    """List the lengths and sizes that the inputs may have, most likely first; only a run shows which it is.

    Tensors of two or three axes that are equally long share a length, as tokens and their mask do. The size of a
    picture is the axes after the channels, or those before them; the length of a sound or series is the last axis.

    Parameters
    ----------
    batch : Batch
    names : sequence of str
        Names of the inputs' tensors, in the order of `layerwise.runtime.tensors.tensors_of`.
    """
    shapes = {
        place: tuple(tensor.shape)
        for place, tensor in enumerate(tensors_of(batch.inputs))
        if has_rows(tensor, batch.size) and tensor.ndim > 1
    }
    lengths = dict.fromkeys(shape[1] for shape in shapes.values() if len(shape) in (2, 3))
    candidates: list[dict[int, tuple[int, ...]]] = [
        {place: (1,) for place, shape in shapes.items() if len(shape) in (2, 3) and shape[1] == length}
        for length in lengths
    ]
    for place, shape in shapes.items():
        if len(shape) == 3:
            masks = [other for other, form in shapes.items() if len(form) == 2 and form[1] == shape[2]]
            candidates.append({place: (2,), **dict.fromkeys(masks, (1,))})
        elif len(shape) > 3:
            size = shape[2:]
            masks_of_size = {other: tuple(range(1, len(form))) for other, form in shapes.items() if form[1:] == size}
            candidates.append({place: tuple(range(2, len(shape))), **masks_of_size})
            candidates.append({place: tuple(range(1, len(shape) - 1))})
    named = {place: name for place, name in enumerate(names) if name in batch.masks}
    return [Extent(axes, tuple(named[place] for place in axes if place in named)) for axes in candidates]


def with_extent(batch: Batch, extent: Extent) -> Iterator[Batch]:
    """Yield the batch cut to smaller extents: some networks take only multiples of a number."""
    shapes = {place: tuple(tensor.shape) for place, tensor in enumerate(tensors_of(batch.inputs))}
    sizes = {shapes[place][axis] for place, axes in extent.axes.items() for axis in axes}
    pictured = any(len(axes) > 1 for axes in extent.axes.values())
    for smaller in (_multiples if pictured else _shares)(sizes):
        yield _cut(batch, extent, smaller)


def _cut(batch: Batch, extent: Extent, smaller: dict[int, int]) -> Batch:
    """Return the batch with the first positions along an extent, by new length for each old one."""
    places = count()
    lengths: set[int] = set()

    def shorter(tensor: Tensor) -> Tensor:
        for axis in extent.axes.get(next(places), ()):
            if tensor.ndim == 2:
                lengths.add(tensor.shape[axis])
            tensor = tensor.narrow(axis, 0, smaller[tensor.shape[axis]])
        return tensor

    inputs = map_tensors(batch.inputs, shorter)
    if batch.masks:
        cut = {name: batch.masks[name][:, : smaller[batch.masks[name].shape[1]]] for name in extent.masks}
        masks = {**batch.masks, **cut}
        return replace(batch, inputs=inputs, mask=next(iter(masks.values())), masks=masks)
    mask = batch.mask
    if mask is not None and mask.shape[1] in lengths:
        mask = mask[:, : smaller[mask.shape[1]]]
    return replace(batch, inputs=inputs, mask=mask)


def _shares(sizes: set[int]) -> Iterator[dict[int, int]]:
    """Yield three quarters of a length, and half of it."""
    for share in (0.75, 0.5):
        smaller = {size: max(round(share * size), 1) for size in sizes}
        if all(less < size for size, less in smaller.items()):
            yield smaller


def _multiples(sizes: set[int]) -> Iterator[dict[int, int]]:
    """Yield the greatest smaller multiples of 32, 16 and so on: networks halve pictures up to five times."""
    seen: list[dict[int, int]] = []
    for step in (32, 16, 8, 4):
        smaller = {size: (size - 1) // step * step for size in sizes}
        if all(smaller.values()) and smaller not in seen:
            seen.append(smaller)
            yield smaller


def padded(
    batch: Batch, mask: Tensor, more: int, *, left: bool, fillers: Mapping[int, float], names: Sequence[str] = ()
) -> Batch | None:
    """Return the batch with more positions of padding at one end; None where no input has the mask's length.

    Parameters
    ----------
    batch : Batch
    mask : Tensor
        Its mask, shape ``(n, positions)``: 0 for padding.
    more : int
        Number of positions that are added.
    left : bool
        Whether padding comes in front.
    fillers : mapping of int to float
        The value of padding, by the position of a tensor in the inputs; by default that of the batch's own padding, or
        0.
    names : sequence of str
        Names of the inputs' tensors.
    """
    whole = tensors_of(batch.inputs)
    for extent in extents_of(batch, names):
        if any(whole[place].shape == mask.shape and axes == (1,) for place, axes in extent.axes.items()):
            break
    else:
        return None
    places = count()
    end = (mask == 0).nonzero()

    def longer(tensor: Tensor) -> Tensor:
        place = next(places)
        if place not in extent.axes:
            return tensor
        (axis,) = extent.axes[place]
        shape = list(tensor.shape)
        shape[axis] = more
        has_padding = tensor.shape == mask.shape and len(end) > 0
        filler = fillers.get(place, tensor[tuple(end[0])].item() if has_padding else 0.0)
        return attach(tensor, tensor.new_full(shape, filler), axis)

    def attach(values: Tensor, padding: Tensor, axis: int) -> Tensor:
        return torch.cat([padding, values] if left else [values, padding], dim=axis)

    def longer_mask(values: Tensor) -> Tensor:
        return attach(values, values.new_zeros(len(values), more), 1)

    masks = {name: longer_mask(values) if name in extent.masks else values for name, values in batch.masks.items()}
    return replace(batch, inputs=map_tensors(batch.inputs, longer), mask=longer_mask(mask), masks=masks)
