"""The tokens or pixels of a batch that count as samples, at each resolution, and their labels."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData, InvalidLabels
from layerwise.features.masks import unlike_the_first
from layerwise.features.reading import LayerReading
from layerwise.network.answer import Answer
from layerwise.passes.positions.subsample import Draw
from layerwise.passes.request import PassRequest

__all__ = ["Selected", "Stream", "resized", "streams_of", "token_labels"]


@dataclass(frozen=True)
class Selected:
    """The tokens or pixels of a batch that count.

    Attributes
    ----------
    batch : Batch
        Their labels, shape ``(m,)``, or values, shape ``(m,)`` or ``(m, q)``; without inputs.
    shape : tuple of int
        Shape of the batch's positions, ``(n, tokens)`` or ``(n, h, w)``.
    where : tuple of Tensor
        Their places in it, shape ``(m,)`` each.
    outputs : tuple of str
        Names of the network's outputs that may be values of their target; none for a target with classes.
    """

    batch: Batch
    shape: tuple[int, ...]
    where: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()

    def features(self, reading: LayerReading, whole: Tensor) -> Tensor:
        """Select their features, shape ``(m, d)``, from the batch's, ``(n, tokens, d)`` or ``(n, h, w, d)``."""
        if tuple(whole.shape[:-1]) != self.shape:
            raise InvalidData(
                f"layer {reading.name!r} has {whole.shape[1]} tokens in this batch, its labels are of {self.shape[1]}"
            )
        return self._taken(whole)

    def answer(self, answer: Answer) -> Answer:
        """Select the network's answer to them."""
        found = answer.predicted
        if found is not None and found.ndim == 3 and len(self.shape) == 3:
            found = resized(found, self.shape[1:])
        values = {name: answer.values[name] for name in self.outputs if name in answer.values}
        return replace(
            answer,
            predicted=None if found is None or tuple(found.shape) != self.shape else self._taken(found),
            values={name: self._taken(own) for name, own in values.items() if tuple(own.shape[:2]) == self.shape},
        )

    def _taken(self, values: Tensor) -> Tensor:
        """Values at their places."""
        return values[tuple(place.to(values.device) for place in self.where)]


@dataclass(frozen=True)
class Stream:
    """The samples that one target has at one resolution.

    Attributes
    ----------
    target : str
    request : PassRequest
        What is to be measured of them.
    positions : tuple of int
        Height and width, for pixels; none for tokens.
    """

    target: str
    request: PassRequest
    positions: tuple[int, ...]

    @property
    def regression(self) -> bool:
        """Whether the target is a regression target."""
        return self.target in self.request.dimensions

    @property
    def name(self) -> str:
        """Target and resolution."""
        return " ".join([self.target, "x".join(map(str, self.positions))]).strip()

    def select(self, batch: Batch, draw: Draw | None = None) -> Selected:
        """Return the samples of a batch: neither ignored nor padding, and drawn if a draw is given.

        Raises
        ------
        InvalidLabels
            If the labels are neither integers nor values of a regression target, or there is none for every token or
            pixel.
        """
        labels = self._labels(batch)
        kept = self._labelled(labels)
        if not self.positions:
            kept &= _not_padding(batch, self.target, kept.device)
        where = kept.nonzero(as_tuple=True)
        own = labels[where] if self.regression else labels[where].long()
        if draw is not None:
            drawn = draw.take(own)
            where, own = tuple(place[drawn] for place in where), own[drawn]
        return Selected(Batch(None, {self.target: own}, len(own)), tuple(kept.shape), where, self._outputs())

    def label_maps(self, batch: Batch) -> Tensor:
        """Return the label maps of a batch at this resolution, -1 where a pixel does not count."""
        labels = self._labels(batch)
        return torch.where(self._labelled(labels), labels.long(), -1)

    def _outputs(self) -> tuple[str, ...]:
        """The outputs that may be values of the target: the one of its name, or the only one, if no other fits."""
        if not self.regression:
            return ()
        request = self.request
        alike = [own for own in request.dimensions.values() if own == request.dimensions[self.target]]
        return (self.target,) if request.vocabularies or len(alike) > 1 else (self.target, "")

    def _labelled(self, labels: Tensor) -> Tensor:
        """Where labels are not ignored; values of a regression target never are."""
        if self.regression:
            return torch.ones(labels.shape[:2], dtype=torch.bool, device=labels.device)
        return _not_ignored(labels, self.request.ignored)

    def _labels(self, batch: Batch) -> Tensor:
        labels = batch.labels[self.target]
        if self.regression:
            return self._checked_values(labels)
        wanted = "(n, h, w)" if self.positions else "(n, tokens)"
        if labels.ndim != (3 if self.positions else 2) or labels.is_floating_point() or labels.is_complex():
            raise InvalidLabels(
                f"reduction {self.request.settings.reduce!r} needs labels of {self.target!r} that are integers of "
                f"shape {wanted}; they are {labels.dtype} of shape {tuple(labels.shape)}"
            )
        return resized(labels, self.positions) if self.positions else labels

    def _checked_values(self, values: Tensor) -> Tensor:
        """Values of a regression target of tokens."""
        dimension = self.request.dimensions[self.target]
        if not values.is_floating_point() or values.ndim not in (2, 3) or math.prod(values.shape[2:]) != dimension:
            wanted = "(n, tokens)" if dimension == 1 else f"(n, tokens, {dimension})"
            raise InvalidLabels(
                f"regression target {self.target!r} must be of floating type and shape {wanted}, as in the first "
                f"batch; it is {values.dtype} of shape {tuple(values.shape)}"
            )
        return values


def token_labels(batch: Batch, target: str, ignored: Collection[int]) -> Tensor:
    """Return the labels of a batch's tokens that are neither ignored nor padding, shape ``(m,)``."""
    labels = batch.labels[target]
    return labels[_not_ignored(labels, ignored) & _not_padding(batch, target, labels.device)]


def _not_ignored(labels: Tensor, ignored: Collection[int]) -> Tensor:
    kept = torch.ones_like(labels, dtype=torch.bool)
    for index in ignored:
        kept &= labels != index
    return kept


def _not_padding(batch: Batch, target: str, device: torch.device) -> Tensor:
    """Where the tokens that a target labels are no padding; everywhere if there is no mask."""
    mask = _mask_of(batch, target)
    return torch.ones((), dtype=torch.bool, device=device) if mask is None else mask.to(device) != 0


def _mask_of(batch: Batch, target: str) -> Tensor | None:
    """The mask of the text that a target labels, by its shape."""
    shape = batch.labels[target].shape[:2]
    if batch.mask is None:
        return None
    names = [name for name, mask in batch.masks.items() if mask.shape == shape]
    differing = unlike_the_first(batch.masks, names)
    if differing is not None:
        raise InvalidLabels(
            f"labels of {target!r}, of shape {tuple(shape)}, may be of the tokens of {names[0]!r} or of {differing!r}: "
            "pad the two texts to different lengths, or leave out the mask of the text that has no labels"
        )
    mask = batch.masks[names[0]] if names else batch.mask
    if mask.shape != shape:
        raise InvalidLabels(
            f"labels of {target!r} have shape {tuple(shape)}, the attention mask {tuple(mask.shape)}: one for every "
            "token is needed"
        )
    return mask


def streams_of(request: PassRequest) -> list[Stream]:
    """Return one stream for each target and resolution, the finest resolution first."""
    found: dict[tuple[str, tuple[int, ...]], list[LayerReading]] = {}
    for target in request.targets:
        for reading in request.readings:
            positions = reading.positions if request.settings.reduce == "pixels" else ()
            found.setdefault((target, positions), []).append(reading)
    ordered = sorted(found, key=lambda key: -torch.Size(key[1]).numel())
    return [
        Stream(target, replace(request, readings=found[target, positions], targets=(target,)), positions)
        for target, positions in ordered
    ]


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps ``(n, h, w)``: every pixel takes the value at its centre."""
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    rows, columns = (
        (2 * torch.arange(new, device=maps.device) + 1) * old // (2 * new)
        for old, new in zip(maps.shape[1:], size, strict=True)
    )
    return maps[:, rows[:, None], columns[None]]
