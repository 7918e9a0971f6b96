"""The same batch with other samples, or of another length or size: what a network is run on to learn its axes."""

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
    """A length or a size of the inputs: the axes along which it lies, in the tensors that share it.

    Attributes
    ----------
    axes : dict of int to tuple of int
        Axes by the place of a tensor in the inputs, in the order of `layerwise.runtime.tensors.tensors_of`.
    masks : tuple of str
        The batch's masks among those tensors.
    """

    axes: dict[int, tuple[int, ...]]
    masks: tuple[str, ...] = ()


def extents_of(batch: Batch, names: Sequence[str] = ()) -> list[Extent]:
    """The lengths and sizes that the inputs may have, most likely first; which it is, only the network knows.

    Tensors of two or three axes that are equally long share a length, as tokens and their mask do. Of pictures the
    axes behind the channels are a size, or those before them; of sounds and series the last axis is a length.

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
    found: list[dict[int, tuple[int, ...]]] = [
        {place: (1,) for place, shape in shapes.items() if len(shape) in (2, 3) and shape[1] == length}
        for length in lengths
    ]
    for place, shape in shapes.items():
        if len(shape) == 3:
            masks = [other for other, form in shapes.items() if len(form) == 2 and form[1] == shape[2]]
            found.append({place: (2,), **dict.fromkeys(masks, (1,))})
        elif len(shape) > 3:
            size = shape[2:]
            beside = {other: tuple(range(1, len(form))) for other, form in shapes.items() if form[1:] == size}
            found.append({place: tuple(range(2, len(shape))), **beside})
            found.append({place: tuple(range(1, len(shape) - 1))})
    named = {place: name for place, name in enumerate(names) if name in batch.masks}
    return [Extent(axes, tuple(named[place] for place in axes if place in named)) for axes in found]


def with_extent(batch: Batch, extent: Extent) -> Iterator[Batch]:
    """The batch cut to smaller extents, one after the other: some networks take multiples of a number alone."""
    shapes = {place: tuple(tensor.shape) for place, tensor in enumerate(tensors_of(batch.inputs))}
    sizes = {shapes[place][axis] for place, axes in extent.axes.items() for axis in axes}
    pictured = any(len(axes) > 1 for axes in extent.axes.values())
    for smaller in (_multiples if pictured else _shares)(sizes):
        yield _cut(batch, extent, smaller)


def _cut(batch: Batch, extent: Extent, smaller: dict[int, int]) -> Batch:
    """The batch with the first so many positions along an extent."""
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
    """Three quarters of a length, and half of it."""
    for share in (0.75, 0.5):
        smaller = {size: max(round(share * size), 1) for size in sizes}
        if all(less < size for size, less in smaller.items()):
            yield smaller


def _multiples(sizes: set[int]) -> Iterator[dict[int, int]]:
    """The greatest smaller multiples of 32, 16 and so on: networks halve pictures up to five times."""
    seen: list[dict[int, int]] = []
    for step in (32, 16, 8, 4):
        smaller = {size: (size - 1) // step * step for size in sizes}
        if all(smaller.values()) and smaller not in seen:
            seen.append(smaller)
            yield smaller


def padded(
    batch: Batch, mask: Tensor, more: int, *, left: bool, fillers: Mapping[int, float], names: Sequence[str] = ()
) -> Batch | None:
    """The batch with so many more positions of padding at one end; None where no input has the mask's length.

    Parameters
    ----------
    batch : Batch
    mask : Tensor
        Its mask, shape ``(n, positions)``: 0 for padding.
    more : int
    left : bool
        Whether padding comes in front.
    fillers : mapping of int to float
        What padding is, by the place of a tensor in the inputs; by default what stands at the padding that the batch
        has, or 0.
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
        met = tensor.shape == mask.shape and len(end) > 0
        filler = fillers.get(place, tensor[tuple(end[0])].item() if met else 0.0)
        return beside(tensor, tensor.new_full(shape, filler), axis)

    def beside(values: Tensor, padding: Tensor, axis: int) -> Tensor:
        return torch.cat([padding, values] if left else [values, padding], dim=axis)

    def longer_mask(one: Tensor) -> Tensor:
        return beside(one, one.new_zeros(len(one), more), 1)

    masks = {name: longer_mask(one) if name in extent.masks else one for name, one in batch.masks.items()}
    return replace(batch, inputs=map_tensors(batch.inputs, longer), mask=longer_mask(mask), masks=masks)
