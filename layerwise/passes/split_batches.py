"""The batches of a split that count: none that is empty, and no sample that a sampler repeats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from layerwise.adapters.protocol import Batch
from layerwise.network.failures import read_batches
from layerwise.network.network import Network
from layerwise.network.rows import first_samples
from layerwise.runtime.distributed import samples_of_this_process
from layerwise.runtime.progress import bar

__all__ = ["SplitBatches"]


class SplitBatches:
    """Reads the batches of a split, as often as the passes ask for them.

    Parameters
    ----------
    network : Network
        Its adapter splits what the loader returns into inputs and labels.
    loader : iterable
        Under `torch.distributed`, a loader with a `DistributedSampler` is one process's share
        (`layerwise.runtime.distributed`).
    split : str
        The name of the split, for the progress bar and error messages.

    Attributes
    ----------
    shared : bool
        Whether other processes have other samples.
    """

    def __init__(self, network: Network, loader: Iterable[Any], split: str) -> None:
        self.network = network
        self.loader = loader
        self.split = split
        self._limit = samples_of_this_process(loader)
        self.shared = self._limit is not None

    def read(self, step: str) -> Iterator[Batch]:
        """Yield the batches in order; `step` names the pass over them."""
        left = self._limit
        batches = self.network.batches(bar(self.loader, f"{self.split} {step}"))
        for batch in read_batches(batches, self.split, step):
            if not batch.size:
                continue
            if left is None:
                yield batch
                continue
            if left > 0:
                yield batch if batch.size <= left else first_samples(batch, left)
            left -= batch.size
