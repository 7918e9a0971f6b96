"""Data as loaders by split, and the regression targets and classes of their labels."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerwise.adapters import Adapter, Batch
from layerwise.adapters.items import split as inputs_and_labels
from layerwise.arguments import NAME
from layerwise.data.peek import is_repeatable, peekable
from layerwise.errors import InvalidArgument, InvalidData, InvalidLabels, UnknownName, shown
from layerwise.metrics import Metric
from layerwise.passes.checks import one_hot_classes
from layerwise.passes.matching import are_numbers
from layerwise.runtime.distributed import rank_and_world_size
from layerwise.runtime.progress import logger
from layerwise.settings import CLASSES

__all__ = [
    "Loaders",
    "check_classes_for",
    "class_names",
    "dimensions",
    "find_loaders",
    "names_of_labels",
    "score_names",
]


@dataclass(frozen=True)
class Loaders:
    """Loaders by split, and the names and fingerprint of their data.

    Attributes
    ----------
    splits : dict of str to iterable
        Batches of every split.
    name : str
        The data's name.
    classes : tuple of str
        Names of the classes; empty if the data has none.
    fingerprint : str
        Fingerprint of data read by name; empty otherwise.
    notes : iterable of str
        What was changed or skipped in reading; notes may be added while the data is read.
    prepare : callable, optional
        Prepares data read by name for the network.
    """

    splits: Mapping[str, Iterable[Any]]
    name: str
    classes: tuple[str, ...] = ()
    fingerprint: str = ""
    notes: Iterable[str] = ()
    prepare: Any = None

    @property
    def preprocessing(self) -> str:
        """How data read by name is prepared for the network, as far as it is known yet; empty for other data."""
        return "" if self.prepare is None else str(getattr(self.prepare, "text", "none"))

    @property
    def repeatable(self) -> bool:
        """Whether every loader can be run again."""
        return all(map(is_repeatable, self.splits.values()))

    @property
    def most_samples(self) -> int | None:
        """Samples of the largest split; None if the size of a loader is unknown."""
        sizes = [size for size in map(_samples, self.splits.values()) if size is not None]
        return max(sizes) if len(sizes) == len(self.splits) else None


def find_loaders(data: Any, model: nn.Module, adapter: Adapter, batch_size: int) -> Loaders:
    """Return loaders by split, from a data name, a loader or a mapping of split to loader.

    Raises
    ------
    InvalidData
        If it is none of these.
    """
    if isinstance(data, str):
        return _named_loaders(data, model, adapter, batch_size)
    splits = dict(data) if isinstance(data, Mapping) else {"train": data}
    for split, loader in splits.items():
        NAME.read("split", split)
        if not isinstance(loader, Iterable) or isinstance(loader, (str, torch.Tensor)):
            raise InvalidData(
                f"split {shown(split)} is a {type(loader).__name__}; data is a name such as 'imagefolder:photos/', a "
                "loader of (inputs, labels), or a mapping of split to loader"
            )
    if not splits:
        raise InvalidData("there is no split: the mapping of split to loader is empty")
    splits = {split: peekable(loader, split) for split, loader in splits.items()}
    first = _dataset(next(iter(splits.values())))
    name = type(first).__name__ if first is not None else "loader"
    return Loaders(splits, name, _classes_of(first))


def _named_loaders(name: str, model: nn.Module, adapter: Adapter, batch_size: int) -> Loaders:
    """Return loaders of data that is read by name, prepared for the model."""
    from layerwise.data import loaders, read
    from layerwise.data.stacking import Stacking
    from layerwise.data.token_counts import CountsTokens, with_tokens

    source = read(name)
    prepare: Any = adapter.prepare(model) or Stacking(model)
    if source.kind == "text" and isinstance(prepare, CountsTokens):
        source = with_tokens(source, prepare)
    notes = getattr(prepare, "notes", None)
    if notes is not None:
        source.notes.include(notes)
    splits = loaders(source, prepare, batch_size=batch_size, share=rank_and_world_size())
    # Integers without names are ids; the ids that occur are the classes.
    classes = () if are_numbers(source.classes) else source.classes
    return Loaders(splits, source.name, classes, source.fingerprint, source.notes, prepare)


def dimensions(batch: Batch, reduce: str = "auto") -> dict[str, int]:
    """Return the dimension of every regression target.

    Regression targets are labels of floating type, of shape ``(n,)`` or ``(n, q)``; if every token is a sample, of
    shape ``(n, tokens)`` or ``(n, tokens, q)``.

    Raises
    ------
    InvalidLabels
        For floats of any other shape, and for complex numbers.
    """
    sizes = {}
    axes, wanted = 1, "(n,) or (n, q) is needed, and values of every token are read by reduce='tokens'"
    if reduce == "tokens":
        axes, wanted = 2, "(n, tokens) or (n, tokens, q) is needed"
    for target, values in batch.labels.items():
        if values.is_complex():
            raise InvalidLabels(f"labels of {target!r} are complex; integers are classes, real numbers are targets")
        if values.is_floating_point():
            # `layerwise.profiling.positions` refuses values of pixels later, whatever their shape.
            if reduce != "pixels" and (values.ndim not in (axes, axes + 1) or values[:1].numel() == 0):
                raise InvalidLabels(f"regression target {target!r} has shape {tuple(values.shape)}; {wanted}")
            sizes[target] = math.prod(values.shape[axes:])
    return sizes


def class_names(
    declared: Any, loaders: Loaders, targets: Sequence[str], regression: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes of every target whose classes the caller or the data names.

    Raises
    ------
    UnknownName
        If classes of a target are declared that the data does not have.
    InvalidLabels
        If classes were declared for labels of floating type.
    """
    of_classes = [target for target in targets if target not in regression]
    names = {target: loaders.classes for target in of_classes if loaders.classes}
    if declared is not None:
        by_target = declared if isinstance(declared, Mapping) else dict.fromkeys(of_classes or targets, declared)
        for target in by_target:
            if target not in targets:
                raise UnknownName("target", target, targets)
        wrong = [target for target in by_target if target in regression]
        if wrong:
            raise InvalidLabels(
                f"labels of {wrong[0]!r} must be integers, since classes were declared for them; they are of floating "
                "type, and without declared classes a regression target"
            )
        names |= {target: _names(value) for target, value in by_target.items()}
    return names


def check_classes_for(metrics: Sequence[Metric], asked: str | Sequence[str] | None, batch: Batch) -> None:
    """Refuse class metrics that are asked for by name if all targets are floats that look like classes.

    Raises
    ------
    InvalidLabels
        With the way to make classes of the labels.
    """
    named = [asked] if isinstance(asked, str) else list(asked or ())
    of_classes = [
        metric.name for metric in metrics if metric.name in named and not metric.applies(classes=False, regression=True)
    ]
    if not of_classes or any(not values.is_floating_point() for values in batch.labels.values()):
        return
    target, values = next(iter(batch.labels.items()))
    if one_hot_classes(values):
        way_out = "its rows are one-hot: give labels.argmax(1) for classes"
    elif bool((values == values.round()).all()):
        way_out = "its values are whole numbers: give labels.long() for classes"
    else:
        return
    raise InvalidLabels(
        f"{', '.join(of_classes)} compare classes, and target {target!r} is of floating type, which is a regression "
        f"target; {way_out}"
    )


def names_of_labels(batch: Batch) -> dict[str, tuple[str, ...]]:
    """Return the classes of boolean labels, which are two, and of one-hot labels, by target."""
    names: dict[str, tuple[str, ...]] = {}
    for target, labels in batch.labels.items():
        if labels.dtype == torch.bool and labels.ndim == 1:
            names[target] = ("False", "True")
        elif not labels.is_floating_point() and (count := one_hot_classes(labels)):
            logger.warning("labels of %r are one-hot, of %s classes", target, count)
            names[target] = tuple(map(str, range(count)))
    return names


def score_names(model: nn.Module) -> tuple[str, ...]:
    """Return a network's names of its class scores; none if it has no names, or generic ones."""
    named = getattr(getattr(model, "config", None), "id2label", None)
    if not isinstance(named, Mapping):
        return ()
    names = tuple(str(named[key]) for key in sorted(named, key=int))
    return () if names == tuple(f"LABEL_{number}" for number in range(len(names))) else names


def _names(value: int | Sequence[str]) -> tuple[str, ...]:
    return tuple(map(str, range(value))) if isinstance(value, int) else tuple(map(str, value))


def _classes_of(dataset: Any) -> tuple[str, ...]:
    """Return a dataset's names of its classes, or their ids if it has a number of classes; none if it has neither."""
    try:
        return _names(CLASSES.read("classes", getattr(dataset, "classes", ())))
    except InvalidArgument:
        return ()


def _samples(loader: Any) -> int | None:
    """Return the samples of a loader, by its dataset or by the labels of a list of batches; None if it has neither."""
    dataset = _dataset(loader)
    if dataset is not None:
        sampler: Any = getattr(loader, "sampler", None)
        # A sampler may draw a sample again and again.
        return max(len(dataset), len(sampler) if hasattr(sampler, "__len__") else 0)
    if not isinstance(loader, (list, tuple)):
        return None
    with suppress(Exception):
        every = [inputs_and_labels(raw)[1] for raw in loader]
        return sum(len(next(iter(labels.values())) if isinstance(labels, Mapping) else labels) for labels in every)
    return None


def _dataset(loader: Any) -> Any:
    """Return a loader's dataset; None if it has none whose samples can be counted."""
    dataset = getattr(loader, "dataset", None)
    return dataset if hasattr(dataset, "__len__") else None
