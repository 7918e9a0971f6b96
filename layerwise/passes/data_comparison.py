"""Compares the data and the network of a profile that goes on with those that its saved state came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.passes.batches_seen import BatchesSeen

__all__ = ["DataComparison"]


class DataComparison:
    """Compares the batches of a split with those that a pass took in; the network is compared once.

    Parameters
    ----------
    folder : Path
        Where the saved state lies, for messages.

    Attributes
    ----------
    proven : dict of str to Tensor
        The batches of each split that are known to be the same (`BatchesSeen.rows`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proven: dict[str, Tensor] = {}
        self._network_compared = False

    def difference(
        self,
        split: str,
        batches: Iterator[Batch],
        saved: Mapping[str, Any],
        beforehand: int,
        changed: Callable[[Batch], list[str]] | None,
    ) -> str:
        """Read the batches that a pass took in; return how labels, batches or network differ, empty if they do not.

        Parameters
        ----------
        split : str
        batches : iterator of Batch
        saved : mapping
            The saved state of the pass.
        beforehand : int
            Digest of what was known of the split before the pass.
        changed : callable, optional
            Returns the layers whose features of the first batch have changed.
        """
        if saved["beforehand"] != beforehand:
            return f"the labels of split {split!r} are not what they were in the profile in {self.folder}"
        proven = self.proven.get(split)
        if saved["complete"] and proven is not None and torch.equal(proven, saved["seen"]):
            # The pass before took in the same batches, and they were compared.
            return ""
        seen = BatchesSeen(saved["seen"])
        for number in range(len(seen)):
            batch = next(batches, None)
            if difference := seen.difference(number, batch):
                return self._other_split(split, difference)
            if number == 0 and batch is not None and changed is not None and not self._network_compared:
                self._network_compared = True
                if layers := changed(batch):
                    return self._other_network(layers)
        if saved["complete"] and (difference := seen.difference(len(seen), next(batches, None))):
            return self._other_split(split, difference)
        return ""

    def _other_split(self, split: str, difference: str) -> str:
        return f"split {split!r} is not what it was in the profile in {self.folder} ({difference})"

    def _other_network(self, layers: list[str]) -> str:
        more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
        return (
            f"the network makes other features of the same inputs (layer {layers[0]!r}{more}) than in the "
            f"profile in {self.folder}"
        )
