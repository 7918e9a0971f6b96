"""The number of classes that take memory: ids are read before the plan is made, where labels alone are cheap."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from layerwise.adapters import Batch
from layerwise.adapters.items import split as inputs_and_labels
from layerwise.data.labels_alone import comes_in_order, labels_alone
from layerwise.data.peek import run_beforehand
from layerwise.errors import LayerwiseError
from layerwise.features.end import token_ids
from layerwise.network.network import Network
from layerwise.passes.checks import checked_labels
from layerwise.passes.labels_only import read_token_ids
from layerwise.passes.vocabulary import MOST_HELD, expected_classes
from layerwise.runtime.distributed import all_gather, is_shared
from layerwise.settings import Settings

__all__ = ["Occurring", "held_classes", "occurring_ids"]


def held_classes(
    network: Network,
    splits: Mapping[str, Any],
    first: Batch,
    targets: Sequence[str],
    declared: Mapping[str, int],
    settings: Settings,
    ignored: Collection[int],
) -> dict[str, int]:
    """Return the number of classes of every target that take memory; every process must call it.

    They are the declared ones if these are few, or if a frame has a vector for each; else the ids that occur, or,
    where labels alone are not cheap, as many as the first batch makes likely.

    Parameters
    ----------
    network, splits, first, ignored
        As for `occurring_ids`.
    targets : sequence of str
        The targets with classes.
    declared : mapping of str to int
        Declared number of classes of a target.
    settings : Settings
    """
    most = MOST_HELD if settings.frame is None else math.inf
    held = {target: declared[target] for target in targets if target in declared and declared[target] <= most}
    unknown = [target for target in targets if target not in held]
    if not unknown:
        return held
    occurring = occurring_ids(network, splits, first, unknown, settings.reduce, ignored)
    for target in unknown:
        known, likely = len(occurring.ids[target]), expected_classes(first.labels[target])
        likely = min(declared.get(target, likely), likely)
        held[target] = max(known, 1 if occurring.complete else likely)
    return held


@dataclass(frozen=True)
class Occurring:
    """The class ids that were read beforehand.

    Attributes
    ----------
    ids : dict of str to Tensor
        The ids of every target, in all splits and processes, ascending.
    complete : bool
        Whether the labels of all splits were read: if not, the run may meet more.
    """

    ids: Mapping[str, Tensor]
    complete: bool


def occurring_ids(
    network: Network,
    splits: Mapping[str, Any],
    first: Batch,
    targets: Collection[str],
    reduce: str = "auto",
    ignored: Collection[int] = (),
) -> Occurring:
    """Read the ids of all splits without the network, unless that opens pictures; every process must call it.

    Token labels are read if the samples are texts or lie in memory. Pixel labels are not read: each layer has them at
    its own resolution.

    Parameters
    ----------
    network : Network
    splits : mapping of str to loader
    first : Batch
        The first batch of the first split: labels that do not agree with it are not used.
    targets : collection of str
        The targets with classes whose ids are read.
    reduce : str
        The reduction that was asked for: with ``tokens`` or ``pixels`` each of them is a sample.
    ignored : collection of int
        Labels of tokens that do not count.
    """
    none = torch.zeros(0, dtype=torch.int64)
    if reduce == "pixels":
        return Occurring(dict.fromkeys(targets, none), complete=False)
    shared = any(map(is_shared, splits.values()))
    found: list[dict[str, Tensor] | None] = []
    for number, (split, loader) in enumerate(splits.items()):
        if number and found[0] is None:
            # No batch has shown that the labels of this data are read correctly.
            found.append(None)
        elif reduce == "tokens":
            found.append(_of_tokens(network, loader, first, targets, ignored, split))
        else:
            found.append(_of_samples(network, loader, None if number else first, list(first.labels), targets))
    every = [own for of_process in all_gather(found, shared) for own in of_process]
    known = [own for own in every if own is not None]
    ids = {target: torch.cat([none, *(own[target] for own in known)]).unique() for target in targets}
    return Occurring(ids, complete=len(known) == len(every))


def _of_tokens(
    network: Network, loader: Any, first: Batch, targets: Collection[str], ignored: Collection[int], split: str
) -> dict[str, Tensor] | None:
    """The ids of tokens, from a run of the loader, where its samples are texts or lie in memory."""
    kept = isinstance(loader, list | tuple) or type(getattr(loader, "dataset", None)) is TensorDataset
    if not kept and token_ids(first.inputs) is None:
        return None
    # The run itself raises the error, and names the batch.
    with suppress(LayerwiseError), run_beforehand(loader) as batches:
        return None if batches is None else read_token_ids(network, batches, targets, ignored, split)
    return None


def _of_samples(
    network: Network, loader: Any, first: Batch | None, names: Sequence[str], targets: Collection[str]
) -> dict[str, Tensor] | None:
    """The ids of samples, from labels alone; None if these cannot be read, or disagree with the first batch."""
    parts = labels_alone(loader, lambda raw: _labels_of(network, raw))
    if parts is None:
        return None
    single = names[0] if len(names) == 1 else ""
    named = [part if isinstance(part, Mapping) else {single: part} for part in parts]
    if not named or any(set(part) != set(names) for part in named):
        return None
    found = {}
    # The run itself raises the error, and names the batch.
    with suppress(LayerwiseError, TypeError, ValueError, RuntimeError):
        for target in targets:
            labels = torch.cat([checked_labels(torch.as_tensor(part[target]), target, {}).cpu() for part in named])
            batch = labels[:0] if first is None else checked_labels(first.labels[target], target, {}).cpu()
            if not _agree(labels, batch, in_order=comes_in_order(loader)):
                return None
            found[target] = labels.unique()
        return found
    return None


def _labels_of(network: Network, raw: Any) -> Any:
    """The labels in a batch, or in the tensors of a whole dataset; a mapping if there are several targets."""
    pick = getattr(network.adapter, "pick", None)
    return inputs_and_labels(raw if pick is None else pick(raw, network.model))[1]


def _agree(labels: Tensor, batch: Tensor, *, in_order: bool) -> bool:
    """Return whether labels that were read alone agree with those of a first batch."""
    if in_order:
        return torch.equal(labels[: len(batch)], batch[: len(labels)])
    ids, counts = labels.unique(return_counts=True)
    present, least = batch.unique(return_counts=True)
    at = torch.searchsorted(ids, present).clamp_max(len(ids) - 1)
    return bool(((ids[at] == present) & (counts[at] >= least)).all())
