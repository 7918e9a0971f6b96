"""Labels of a loader's samples, read from its dataset without reading the inputs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
)

from layerwise.data.loading import Collate
from layerwise.runtime.distributed import samples_of_this_process

__all__ = ["comes_in_order", "labels_alone"]

# Names of the labels of datasets such as torchvision's.
_NAMES = ("targets", "labels", "_labels", "y")
_IN_ORDER = (SequentialSampler, DistributedSampler)


def labels_alone(loader: Any, labels_of: Callable[[Any], Any]) -> list[Any] | None:
    """Read the labels of a loader's samples in this process, without the inputs.

    This works for a list of batches, and for a `DataLoader` with torch's own samplers and collation over tensors, a
    list of pairs, a dataset with an attribute such as ``targets``, a `datasets.Dataset`, and subsets and chains of
    these.

    Parameters
    ----------
    loader : iterable of batches
    labels_of : callable
        Returns the labels of a batch, or of the tensors or columns of a whole dataset.

    Returns
    -------
    list or None
        Labels in one part or several, in the order of the loader if `comes_in_order`. None if the labels cannot be read
        without the inputs.
    """
    # After an error, the labels are read with the inputs, which raises an error with a better message if they are bad.
    with suppress(Exception):
        if isinstance(loader, list | tuple):
            return list(map(labels_of, loader))
        if not isinstance(loader, DataLoader) or loader.batch_size is None or not _stacks(loader.collate_fn):
            return None
        places = _places(loader)
        labels = None if places is None else _labels(loader.dataset, labels_of)
        return None if labels is None else [labels[torch.as_tensor(places, dtype=torch.int64)]]
    return None


def comes_in_order(loader: Any) -> bool:
    """Whether `labels_alone` returns the labels in the order of the loader."""
    return isinstance(loader, list | tuple) or type(getattr(loader, "sampler", None)) in _IN_ORDER


def _stacks(collate: Any) -> bool:
    """Whether a collation stacks the labels of samples unchanged."""
    return collate is default_collate or isinstance(collate, Collate)


def _places(loader: DataLoader[Any]) -> list[int] | range | None:
    """Return the positions in the dataset of the samples that count in this process; None if they change with runs."""
    sampler, size = loader.sampler, loader.batch_size or 1
    count = len(loader.dataset)  # type: ignore[arg-type]
    if type(sampler) in _IN_ORDER:
        places = list(sampler)
        end = len(places) // size * size if loader.drop_last else len(places)
        return places[:end][: samples_of_this_process(loader)]
    shuffled: list[int] | range | None = None
    if type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == count:
        shuffled = range(count)
    elif type(sampler) is SubsetRandomSampler:
        shuffled = list(sampler.indices)
    # A last batch that is dropped has other samples in every run.
    return None if shuffled is None or (loader.drop_last and len(shuffled) % size) else shuffled


def _labels(dataset: Any, labels_of: Callable[[Any], Any]) -> Tensor | None:
    """Return the labels of all samples of a dataset, one row for each; None if they cannot be read alone."""
    if type(dataset) is Subset:
        labels = _labels(dataset.dataset, labels_of)
        return None if labels is None else labels[torch.as_tensor(list(dataset.indices), dtype=torch.int64)]
    if type(dataset) is ConcatDataset:
        parts = [_labels(part, labels_of) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return torch.cat(known) if len(known) == len(parts) else None
    if type(dataset) is TensorDataset:
        return _rows(labels_of(dataset.tensors), len(dataset))
    if isinstance(dataset, list | tuple):
        return _rows([label for _, label in dataset], len(dataset))
    if type(dataset).__module__.startswith("datasets."):
        return _rows(labels_of(_columns(dataset)), len(dataset))
    return _attribute(dataset)


def _columns(dataset: Any) -> dict[str, Any]:
    """Return the columns of a `datasets.Dataset` that hold one number for each sample.

    Raises
    ------
    ValueError
        If a transform makes samples from the columns.
    """
    form = dataset.format
    if form["type"] == "custom":
        raise ValueError("a transform makes the samples")
    features = {name: dataset.features[name] for name in form["columns"]}
    names = [name for name, feature in features.items() if type(feature).__name__ in ("ClassLabel", "Value")]
    names = [name for name in names if features[name].dtype.startswith(("int", "uint", "bool", "float"))]
    return dict(dataset.with_format("numpy", columns=names)[:])


def _attribute(dataset: Any) -> Tensor | None:
    """Return the labels that a dataset has as an attribute; None if a transform changes them."""
    joint = getattr(dataset, "transforms", None)
    if getattr(dataset, "target_transform", None) is not None or getattr(joint, "target_transform", joint) is not None:
        return None
    values = [getattr(dataset, name, None) for name in _NAMES]
    candidates = [_rows(value, len(dataset)) for value in values if value is not None]
    first = candidates[0] if candidates else None
    # If two attributes differ, either may be the labels.
    alike = all(first is not None and other is not None and torch.equal(first, other) for other in candidates[1:])
    return first if alike else None


def _rows(values: Any, samples: int) -> Tensor | None:
    """Return labels as a tensor; None if they do not have one row for each sample."""
    labels = torch.as_tensor(values).cpu()
    return labels if labels.ndim and len(labels) == samples else None
