"""The meaning of the axes of every activation, measured by running a network on two numbers of samples and two lengths.

The axis that grows with the samples is theirs. Axes that change with the length or size of the input are positions. An
axis that changes with neither is that of the features, or a fixed number of positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from layerwise.adapters.protocol import Batch
from layerwise.network.graph.records import Trace
from layerwise.network.graph.shapes import Key, Shapes, shapes_of, traced_shapes
from layerwise.network.graph.texts import texts_of
from layerwise.network.graph.trace import trace
from layerwise.network.graph.variations import Extent, extents_of, with_extent
from layerwise.network.layer import Axes
from layerwise.network.rows import with_rows

__all__ = ["FEW", "MORE", "axes_of", "laid_out", "measured_trace", "sample_axis"]

#: Samples that are traced, and samples that the second run has.
FEW, MORE = 2, 3
# Strided convolutions cut off the ends, so that their factor differs a little between two lengths.
_ALIKE = 0.2


@dataclass(frozen=True)
class Resized:
    """The shapes in a network for inputs of another length or size.

    Attributes
    ----------
    shapes : mapping of Key to tuple of int
    mask : tuple of int
        Length of the attention mask in the first run and in this one; equal where it kept its length.
    masks : tuple of str
        The masks that have this length.
    """

    shapes: Shapes
    mask: tuple[int, int]
    masks: tuple[str, ...] = ()


def measured_trace(model: nn.Module, run: Callable[[Batch], Any], batch: Batch, names: Sequence[str] = ()) -> Trace:
    """Trace a few samples of a batch through a network, and measure the axes of the inputs and outputs of its modules.

    Where the network does not run on another number of samples, or on another length, those axes stay unknown.

    Parameters
    ----------
    model : Module
    run : callable
        Runs one forward of `model` on a batch.
    batch : Batch
    names : sequence of str
        Names of the inputs' tensors, in the order of `layerwise.runtime.tensors.tensors_of`: inputs of equal length
        whose names share a word may belong to one text.
    """
    few = with_rows(batch, [row % batch.size for row in range(FEW)])
    traced = trace(model, lambda: run(few))
    shapes = traced_shapes(traced)
    more = shapes_of(model, partial(run, with_rows(batch, [row % batch.size for row in range(MORE)])))
    if more is None:
        return traced
    resized = _resized(partial(_shapes_at, model, run, few), few, names, shapes)
    known = [key for key, shape in shapes.items() if len(more.get(key, ())) == len(shape) > 0]
    return replace(traced, axes={key: axes_of(key, shapes, more, resized, few.mask is not None) for key in known})


def axes_of(key: Key, shapes: Shapes, more: Shapes, resized: Sequence[Resized], has_mask: bool) -> Axes | None:
    """Return the axes of one activation, from its shapes in all runs; None if no single axis is that of the samples."""
    shape = shapes[key]
    axes = sample_axis(shape, more[key])
    runs = [run for run in resized if len(run.shapes.get(key, ())) == len(shape)]
    if axes is None or not runs:
        return axes if has_mask or axes is None else replace(axes, masked=())
    changed = [_changed(shape, run.shapes[key], axes) for run in runs]
    positions = tuple(sorted({axis for lengths in changed for axis in lengths}))
    axes = replace(axes, positions=positions, masked=None if has_mask else ())
    masked = [(run, lengths) for run, lengths in zip(runs, changed, strict=True) if run.mask[0] != run.mask[1]]
    if not masked:
        return axes
    run, lengths = next((pair for pair in masked if pair[1]), masked[0])
    return replace(_against_mask(axes, lengths, run.mask), masks=run.masks)


def sample_axis(shape: Sequence[int], more: Sequence[int]) -> Axes | None:
    """Return the axis of the samples, from the shapes for `FEW` and for `MORE` samples; None unless there is one.

    Examples
    --------
    >>> sample_axis((7, 2, 16), (7, 3, 16)).samples
    1
    >>> sample_axis((8, 49, 16), (12, 49, 16)).folded
    True
    >>> sample_axis((2, 2), (3, 3)) is None
    True
    """
    following = [
        axis
        for axis, (few, larger) in enumerate(zip(shape, more, strict=True))
        if few and few % FEW == 0 and larger * FEW == few * MORE
    ]
    if len(following) != 1:
        return None
    return Axes(samples=following[0], folded=shape[following[0]] > FEW, measured=True)


def _against_mask(axes: Axes, changed: Mapping[int, tuple[int, int]], mask: tuple[int, int]) -> Axes:
    """Return the axes with those that follow the mask, and how their length depends on its length."""
    if not changed:
        return replace(axes, masked=())
    before, after = next(iter(changed.values()))
    # Positions that are padded to a multiple of a window follow the mask by no factor: their order is unknown.
    factors = before / mask[0], after / mask[1]
    scaled = before - after != mask[0] - mask[1] and abs(factors[0] - factors[1]) <= _ALIKE * factors[0]
    return replace(axes, masked=tuple(changed), ahead=0 if scaled else before - mask[0], scaled=scaled)


def _resized(
    resize: Callable[[Extent], Iterator[Resized]], few: Batch, names: Sequence[str], shapes: Shapes
) -> list[Resized]:
    """Return the shapes for every length or size of the inputs that the network runs on when it is another."""
    runs: list[tuple[Extent, Resized | None]] = []

    def resized(extent: Extent) -> Resized | None:
        for known, run in runs:
            if known == extent:
                return run
        run = next((run for run in resize(extent) if run.shapes != shapes), None)
        runs.append((extent, run))
        return run

    texts = [
        text
        for extent in extents_of(few, names)
        for text in texts_of(extent, names, lambda part: resized(part) is not None)
    ]
    return [run for run in map(resized, texts) if run is not None]


def _shapes_at(model: nn.Module, run: Callable[[Batch], Any], few: Batch, extent: Extent) -> Iterator[Resized]:
    """Yield the shapes at every smaller form of one length or size that the network runs on."""
    for other in with_extent(few, extent):
        shapes = shapes_of(model, partial(run, other))
        if shapes is not None:
            yield Resized(shapes, _lengths(few, other, extent.masks), extent.masks)


def _lengths(few: Batch, other: Batch, masks: Sequence[str]) -> tuple[int, int]:
    """Return the lengths of the mask of an extent, before and after."""
    if few.mask is None or other.mask is None:
        return 0, 0
    if not few.masks:
        return few.mask.shape[1], other.mask.shape[1]
    return next(((few.masks[name].shape[1], other.masks[name].shape[1]) for name in masks), (0, 0))


def _changed(shape: Sequence[int], other: Sequence[int], axes: Axes) -> dict[int, tuple[int, int]]:
    """Return the axes that another size changes, in the activation with its samples in front, with both lengths."""
    order = [axes.samples, *(axis for axis in range(len(shape)) if axis != axes.samples)]
    pairs = [(shape[axis], other[axis]) for axis in order]
    if axes.folded:
        pairs[:1] = [(FEW, FEW), (shape[axes.samples] // FEW, other[axes.samples] // FEW)]
    return {axis: pair for axis, pair in enumerate(pairs) if axis and pair[0] != pair[1]}


def laid_out(sizes: Sequence[int], channels: int, axes: Axes) -> tuple[tuple[int, ...], int]:
    """Return the shape of an activation without its samples, and the axis of its features with the samples in front.

    The features are the one axis that is neither samples nor positions. Among several, the operations around the
    activation decide.

    Parameters
    ----------
    sizes : sequence of int
        Shape of the activation for `FEW` samples.
    channels : int
        Its axis of features by the operations around it (`layerwise.network.graph.dataflow.Graph.channels`).
    axes : Axes

    Examples
    --------
    >>> laid_out((7, 2, 16), -1, Axes(samples=1, positions=(1,), measured=True))
    ((7, 16), -1)
    >>> laid_out((2, 16, 40), -1, Axes(positions=(2,), measured=True))
    ((16, 40), 1)
    """
    order = [axes.samples, *(axis for axis in range(len(sizes)) if axis != axes.samples)]
    moved = order.index(channels % len(sizes))
    shape = [sizes[axis] for axis in order]
    if axes.folded:
        shape[:1] = [FEW, shape[0] // FEW]
        moved += 1 if moved else 0
    others = range(2 if axes.folded else 1, len(shape))
    free = [axis for axis in others if axis not in (axes.positions or ())] or [*others[-1:]]
    if not free:
        return tuple(shape[1:]), -1
    chosen = moved if moved in free and len(free) > 1 else free[-1]
    return tuple(shape[1:]), -1 if chosen == len(shape) - 1 else chosen
