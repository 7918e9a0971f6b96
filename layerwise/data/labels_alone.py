"""Labels of a loader's samples, read from its dataset without opening an input."""

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

# What datasets call the labels of their samples, torchvision's among them.
_NAMES = ("targets", "labels", "_labels", "y")
_IN_ORDER = (SequentialSampler, DistributedSampler)


def labels_alone(loader: Any, labels_of: Callable[[Any], Any]) -> list[Any] | None:
    """Read the labels of the samples that a loader gives to this process, and no input.

    They are known of a list of batches, and of a `DataLoader` with torch's own samplers and collation over tensors, a
    list of pairs, a dataset with an attribute such as ``targets``, a `datasets.Dataset`, and subsets and chains of
    these.

    Parameters
    ----------
    loader : iterable of batches
    labels_of : callable
        Takes a batch, or the tensors or columns of a whole dataset, to its labels.

    Returns
    -------
    list or None
        Labels, in one part or in several: in the order of the loader if `comes_in_order`. None where reading them takes
        the inputs, too.
    """
    # What cannot be read here fails, with a message of its own, or is read as the data goes by.
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
    """Whether `labels_alone` reads the labels of a loader in the order in which they come."""
    return isinstance(loader, list | tuple) or type(getattr(loader, "sampler", None)) in _IN_ORDER


def _stacks(collate: Any) -> bool:
    """Whether a collation leaves the labels of samples as they are."""
    return collate is default_collate or isinstance(collate, Collate)


def _places(loader: DataLoader[Any]) -> list[int] | range | None:
    """The places in the dataset of the samples that count here; None where a run draws them."""
    sampler, size = loader.sampler, loader.batch_size or 1
    count = len(loader.dataset)  # type: ignore[arg-type]
    if type(sampler) in _IN_ORDER:
        places = list(sampler)
        whole = len(places) // size * size if loader.drop_last else len(places)
        return places[:whole][: samples_of_this_process(loader)]
    drawn: list[int] | range | None = None
    if type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == count:
        drawn = range(count)
    elif type(sampler) is SubsetRandomSampler:
        drawn = list(sampler.indices)
    # Which samples are left over for a last batch that is dropped, changes from run to run.
    return None if drawn is None or (loader.drop_last and len(drawn) % size) else drawn


def _labels(dataset: Any, labels_of: Callable[[Any], Any]) -> Tensor | None:
    """The labels of all samples of a dataset, a row each."""
    if type(dataset) is Subset:
        whole = _labels(dataset.dataset, labels_of)
        return None if whole is None else whole[torch.as_tensor(list(dataset.indices), dtype=torch.int64)]
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
    """The columns of a `datasets.Dataset` that hold one plain value a sample.

    Raises
    ------
    ValueError
        If a transform makes the samples of the columns.
    """
    form = dataset.format
    if form["type"] == "custom":
        raise ValueError("a transform makes the samples")
    features = {name: dataset.features[name] for name in form["columns"]}
    names = [name for name, feature in features.items() if type(feature).__name__ in ("ClassLabel", "Value")]
    names = [name for name in names if features[name].dtype.startswith(("int", "uint", "bool", "float"))]
    return dict(dataset.with_format("numpy", columns=names)[:])


def _attribute(dataset: Any) -> Tensor | None:
    """The labels that a dataset has as an attribute, where no transform changes them on the way out."""
    joint = getattr(dataset, "transforms", None)
    if getattr(dataset, "target_transform", None) is not None or getattr(joint, "target_transform", joint) is not None:
        return None
    values = [getattr(dataset, name, None) for name in _NAMES]
    found = [_rows(value, len(dataset)) for value in values if value is not None]
    first = found[0] if found else None
    # Two attributes that differ: which of them a sample comes with is not known.
    alike = all(first is not None and other is not None and torch.equal(first, other) for other in found[1:])
    return first if alike else None


def _rows(values: Any, samples: int) -> Tensor | None:
    """Labels as a tensor; None where there is not one row for each sample."""
    labels = torch.as_tensor(values).cpu()
    return labels if labels.ndim and len(labels) == samples else None
