"""Runs the passes of one split and hands on finished statistics, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.bank import Bank
from layerwise.errors import EmptyData, NotRepeatable
from layerwise.network import Network, Reading, first_samples
from layerwise.passes import FirstPass, Key, Request, SecondPass, SplitResult
from layerwise.passes.checks import where_not_finite
from layerwise.progress import bar
from layerwise.shares import own_samples

__all__ = ["run_split"]


def run_split(
    network: Network,
    loader: Iterable[Any],
    request: Request,
    split: str = "",
    train: SplitResult | None = None,
) -> SplitResult:
    """Sweep a split once or twice and finish its statistics.

    Parameters
    ----------
    network : Network
    loader : iterable of batches
        Under `torch.distributed`, a loader with a `DistributedSampler` is one process's share (`layerwise.shares`).
    request : Request
    split : str
        Its name, for the progress bar.
    train : SplitResult, optional
        The training split, whose class means and probe judge the samples; the split itself by default.

    Raises
    ------
    EmptyData, InvalidLabels, NonFiniteFeatures
        As the data goes by.
    """
    own = own_samples(loader)
    shared = own is not None
    with ExitStack() as stack:
        bank = stack.enter_context(Bank(request.plan.second)) if request.plan.second in ("memory", "disk") else None
        first = FirstPass(request, bank, network.device)
        with network.reading(request.readings, first.receive) as run:
            for number, batch in enumerate(_counted(network, bar(loader, f"{split} pass 1"), own)):
                first.begin(batch)
                first.end(run(batch))
                if not first.finite:
                    raise where_not_finite(request, network, batch, number)
        seen = first.tally.samples
        first.merge(shared)
        if not first.tally.samples:
            raise EmptyData(f"split {split!r} is empty: its loader gave no batch")
        result = first.finish()
        if request.plan.passes == 2:
            second = SecondPass(request, result, train or result, shared=shared)
            if bank is not None:
                second.read(bank, bar(request.readings, f"{split} pass 2"), network.device)
            else:
                batches = _counted(network, bar(loader, f"{split} pass 2"), own)
                _run_again(network, batches, second, seen)
        return result


def _counted(network: Network, loader: Iterable[Any], own: int | None) -> Iterator[Batch]:
    """The batches, up to the samples that count."""
    left = own
    for batch in network.batches(loader):
        if left is None:
            yield batch
            continue
        if left > 0:
            yield batch if batch.size <= left else first_samples(batch, left)
        left -= batch.size


def _run_again(network: Network, batches: Iterable[Batch], second: SecondPass, expected: int) -> None:
    """Run the data through the network a second time."""
    nearest: dict[Key, tuple[Tensor, Tensor | None]] = {}
    labels: dict[str, Tensor] = {}

    def receive(reading: Reading, features: Tensor) -> None:
        nearest.update(second.update(reading, features, labels))

    samples = 0
    with network.reading(second.request.readings, receive) as run:
        for batch in batches:
            samples += batch.size
            labels.update({target: values.long() for target, values in batch.labels.items()})
            logits = run(batch)
            second.compare(nearest, None if logits is None else logits.argmax(1))
    if samples != expected:
        raise NotRepeatable(
            f"the loader gave {expected} samples in the first run and {samples} in the second; "
            "give a loader that repeats itself"
        )
    for reading in second.request.readings:
        second.finish(reading, network.device)
