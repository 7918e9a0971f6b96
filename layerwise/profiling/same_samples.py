"""Checks that two networks are given the same samples in the same order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.data.fingerprint import sample_hashes
from layerwise.errors import InvalidData
from layerwise.runtime.progress import logger

__all__ = ["Pairing"]

_MEND = "give both networks the same samples in the same batches, unshuffled"


class Pairing:
    """Compare the samples of two networks, batch by batch.

    Samples are the same if their labels and inputs are equal. If each network prepares inputs in its own way, only the
    labels, and the name of data that has one, can be compared.

    Parameters
    ----------
    first, second : str
        Fingerprints of the data that each network reads; empty where it has no name.
    """

    def __init__(self, first: str, second: str) -> None:
        if first and second and first != second:
            raise InvalidData(f"the networks are given other data: fingerprints {first} and {second}; {_MEND}")
        self._by_name = bool(first and second)
        self._prepared = False
        self._number = 0

    def check(self, first: Batch | None, second: Batch | None) -> None:
        """Compare the next batch of both.

        Raises
        ------
        InvalidData
            If only one network has a batch, or the samples differ or come in another order.
        """
        number, self._number = self._number, self._number + 1
        if first is None or second is None:
            longer = "second" if first is None else "first"
            raise InvalidData(f"the networks are given other samples: only the {longer} has a batch {number}; {_MEND}")
        if first.size != second.size:
            sizes = f"{first.size} samples for the first, {second.size} for the second"
            raise InvalidData(f"the networks are given batches of other sizes: batch {number} has {sizes}; {_MEND}")
        if set(first.labels) != set(second.labels):
            targets = [", ".join(batch.labels) for batch in (first, second)]
            raise InvalidData(f"the networks are given other targets: {targets[0]}; {targets[1]}")
        for target, labels in first.labels.items():
            if not _equal(labels, second.labels[target]):
                raise InvalidData(
                    f"the networks are given other samples, or the same in another order: labels of {target!r} differ "
                    f"in batch {number}; {_MEND}"
                )
        hashes, other_hashes = (sample_hashes(batch.inputs, {}, batch.size) for batch in (first, second))
        if hashes == other_hashes:
            return
        if _reordered(hashes, other_hashes):
            raise InvalidData(
                f"the networks are given the same samples in another order: inputs of batch {number}; {_MEND}"
            )
        self._prepared = True

    def evidence(self) -> str:
        """Return what shows that the samples are the same; log a warning if only labels do."""
        if not self._number:
            return "one loader"
        if not self._prepared:
            return "inputs and labels are equal"
        if self._by_name:
            return "the data of one name, prepared for each network"
        logger.warning(
            "the two networks get equal labels and other inputs: taken for the same samples, prepared for each"
        )
        return "labels are equal, inputs are not: taken for the same samples, prepared for each network"


def _equal(a: Tensor, b: Tensor) -> bool:
    comparable = a.shape == b.shape and a.is_floating_point() == b.is_floating_point()
    return comparable and torch.allclose(a.cpu().double(), b.cpu().double(), rtol=1e-6, atol=0.0, equal_nan=True)


def _reordered(a: Sequence[int], b: Sequence[int]) -> bool:
    """Return whether any sample of `a` has another place in `b`."""
    others = set(b)
    return any(hash_a != hash_b and hash_a in others for hash_a, hash_b in zip(a, b, strict=True))
