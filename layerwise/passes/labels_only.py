"""Reads a split without the network: its labels, the ids of its tokens, its fingerprint."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor

from layerwise.data.fingerprint import DataFingerprint
from layerwise.network.network import Network
from layerwise.passes.checks import checked_labels, checked_targets
from layerwise.passes.label_replicates import LabelReplicates, find_label_replicates
from layerwise.passes.positions.streams import token_labels
from layerwise.passes.request import PassRequest
from layerwise.passes.split_batches import SplitBatches
from layerwise.runtime.distributed import all_gather, dealt_indices, why_unknown
from layerwise.statistics.merging import merge_across_processes

__all__ = ["read_fingerprint", "read_labels", "read_token_ids"]


def read_labels(network: Network, loader: Iterable[Any], request: PassRequest, split: str = "") -> LabelReplicates:
    """Read the labels and regression targets of a split, to shuffle them and to group the samples.

    Every process must call it.

    Parameters
    ----------
    network, loader, request, split
        As for `run_split`.
    """
    indices = dealt_indices(loader)
    batches: dict[str, list[Tensor]] = {}
    for number, batch in enumerate(SplitBatches(network, loader, split).read("labels")):
        for target, values in batch.labels.items():
            if target in request.dimensions:
                batches.setdefault(target, []).append(checked_targets(values, target, request, number)[0].cpu())
            elif target in request.targets:
                batches.setdefault(target, []).append(checked_labels(values, target, request.classes).cpu())
    labels = {target: torch.cat(parts) for target, parts in batches.items()}
    if indices is None:
        return find_label_replicates(labels, request, split, shared=False)
    unknown = why_unknown(loader, indices, len(next(iter(labels.values()), ())))
    return find_label_replicates(labels, request, split, shared=True, indices=indices, unknown=unknown)


def read_fingerprint(network: Network, loader: Iterable[Any], split: str) -> tuple[int, DataFingerprint]:
    """Return the number of samples and the fingerprint of a split, over all processes."""
    batches = SplitBatches(network, loader, split)
    fingerprint, samples = DataFingerprint(), 0
    for batch in batches.read("fingerprint"):
        fingerprint.update(batch.inputs, batch.labels)
        samples += batch.size
    merged = merge_across_processes(fingerprint, DataFingerprint, network.device, batches.shared)
    return sum(all_gather(samples, batches.shared)), merged


def read_token_ids(
    network: Network, loader: Iterable[Any], targets: Collection[str], ignored: Collection[int], split: str
) -> dict[str, Tensor]:
    """Return the class ids of the tokens of this process, by target.

    Parameters
    ----------
    network : Network
    loader : iterable
        A run of the split's loader.
    targets : collection of str
    ignored : collection of int
        Labels that do not count.
    split : str
    """
    ids = {target: torch.zeros(0, dtype=torch.int64) for target in targets}
    for batch in SplitBatches(network, loader, split).read("labels"):
        for target in ids.keys() & batch.labels.keys():
            labels = token_labels(batch, target, ignored).cpu().long()
            ids[target] = torch.cat([ids[target], labels]).unique()
    return ids
