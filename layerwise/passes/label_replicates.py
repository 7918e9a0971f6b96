"""Label shuffles and jackknife groups of a split, from its labels, before the network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import xxhash
from torch import Tensor

from layerwise.passes.jackknife_groups import deal
from layerwise.passes.label_shuffles import LabelShuffles
from layerwise.passes.replicate_views import Orders
from layerwise.passes.request import PassRequest
from layerwise.runtime.distributed import all_gather, rank_and_world_size

__all__ = ["LabelReplicates", "Places", "find_label_replicates", "find_places"]


@dataclass(frozen=True)
class LabelReplicates:
    """Shuffles and groups of this process's samples.

    Attributes
    ----------
    samples : int
        The number of these samples.
    shuffles : Orders or None
        Other orders of the labels of all processes.
    groups : mapping of str to Tensor, optional
        The group of each sample, by target, unless the samples are those of the whole data set in their order.
    indices : sequence of int, optional
        The places in the data set that the sampler named.
    order : str
        The order in which the samples of all processes were counted; empty where one process has all.
    """

    samples: int = 0
    shuffles: Orders | None = None
    groups: Mapping[str, Tensor] | None = None
    indices: Sequence[int] | None = None
    order: str = ""


@dataclass(frozen=True)
class Places:
    """The numbers of this process's samples among those of all processes, in the order of the data set.

    Attributes
    ----------
    own : Tensor
        Shape ``(n,)``.
    whole : Tensor
        The samples of all processes, one process after the other, in the order of the data set, shape ``(N,)``.
    rank : int
        Number of this process among those that share the samples.
    shared : bool
        Whether other processes have other samples.
    order : str
        The order in which they were counted; empty where one process has all.
    """

    own: Tensor
    whole: Tensor
    rank: int
    shared: bool
    order: str


def find_places(size: int, *, shared: bool, indices: Sequence[int] | None = None, unknown: str = "") -> Places:
    """Number the samples of all processes in the order of the data set; every process must call it.

    Parameters
    ----------
    size : int
        The number of samples of this process.
    shared, indices, unknown
        As for `find_label_replicates`.
    """
    every = all_gather((size, None if indices is None else torch.tensor(indices[:size]), unknown), shared)
    reason = next((why for _, _, why in every if why), "")
    sizes = [own for own, _, _ in every]
    numbers = torch.cat([torch.arange(n) if own is None or reason else own.long() for n, own, _ in every])
    order = torch.arange(sum(sizes)) if reason or not shared else numbers.argsort(stable=True)
    places = order.argsort()
    rank = rank_and_world_size()[0] if len(every) > 1 else 0
    start = sum(sizes[:rank])
    order_name = _order_name(reason) if shared and rank_and_world_size()[1] > 1 else ""
    return Places(places[start : start + size], order, rank, shared, order_name)


def find_label_replicates(
    labels: Mapping[str, Tensor],
    request: PassRequest,
    split: str,
    *,
    shared: bool,
    indices: Sequence[int] | None = None,
    unknown: str = "",
) -> LabelReplicates:
    """Put the labels of all processes in the order of the data set, and shuffle and group them as one process would.

    Every process must call it.

    Parameters
    ----------
    labels : mapping of str to Tensor
        The labels of this process's samples, by target: ``(n,)``, or values of floating type ``(n, q)``.
    request : PassRequest
    split : str
    shared : bool
        Whether other processes have other samples.
    indices : sequence of int, optional
        The place of each of the samples in the data set.
    unknown : str
        The reason why the places are unknown, if they are: samples are then counted process after process.
    """
    size = len(next(iter(labels.values()), ()))
    places = find_places(size, shared=shared, indices=indices, unknown=unknown)
    every = all_gather(dict(labels), shared)
    whole = {
        target: torch.cat([part[target] for part in every if target in part])[places.whole]
        for target in dict.fromkeys(target for part in every for target in part)
    }
    own = places.own
    # Splits of the same order of labels, shuffled alike, would not be independent.
    seed = xxhash.xxh3_64_intdigest(f"{request.settings.seed} {split}".encode()) % 2**63
    dealt = deal(whole, request.settings.jackknife) if request.settings.jackknife and shared else {}
    return LabelReplicates(
        samples=size,
        shuffles=LabelShuffles(whole, request.settings.null, seed, own) if request.settings.null else None,
        groups={target: groups[own] for target, groups in dealt.items()} or None,
        indices=indices,
        order=places.order,
    )


def _order_name(unknown: str) -> str:
    return f"process after process: {unknown}" if unknown else "of the data set"
