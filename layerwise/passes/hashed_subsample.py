"""A random part of a split's samples, kept with their features in wide layers to be measured in two ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from layerwise.runtime.distributed import all_gather, rank_and_world_size
from layerwise.statistics import State

__all__ = ["Subsample"]


class Subsample:
    """Keeps the features and labels of the samples with the smallest hashes.

    The hash is that of the sample itself, so that neither order, batches nor processes change which samples are kept.
    Tokens and pixels have none: they are numbered as they come, and their numbers are hashed.

    Parameters
    ----------
    most : int
        The number of samples to keep.

    Attributes
    ----------
    samples : int
        The number of samples that came; after `merge`, in all processes.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.samples = 0
        self.hashes = torch.zeros(0, dtype=torch.int64)
        self._labels: dict[str, Tensor] = {}
        self._features: dict[str, Tensor] = {}
        # The rows of the batch at hand that are kept, and their places.
        self._rows = self._places = torch.zeros(0, dtype=torch.int64)
        self._order = self._own = torch.zeros(0, dtype=torch.int64)
        self._shared = False

    @property
    def whole(self) -> bool:
        """Whether every sample is kept."""
        return self.samples == len(self._order)

    def __len__(self) -> int:
        """The number of kept samples of all processes, once they are merged."""
        return len(self._order)

    def begin(self, labels: Mapping[str, Tensor], size: int, hashes: Sequence[int] | None = None) -> None:
        """Choose among the samples of a batch and those that are kept.

        Parameters
        ----------
        labels : mapping of str to Tensor
            Labels or regression targets of the batch.
        size : int
            Its samples.
        hashes : sequence of int, optional
            Of each sample, 64 bits; by default of their running number.
        """
        numbers = np.arange(self.samples, self.samples + size, dtype=np.uint64)
        given = _mixed(numbers) if hashes is None else np.array(hashes, dtype=np.uint64)
        new = torch.from_numpy((given >> np.uint64(1)).astype(np.int64))
        self.samples += size
        held = len(self.hashes)
        chosen = torch.cat([self.hashes, new]).argsort(stable=True)[: self.most]
        self._rows = (chosen[chosen >= held] - held).sort().values
        replaced = torch.ones(held, dtype=torch.bool)
        replaced[chosen[chosen < held]] = False
        grown = torch.arange(held, min(self.most, held + len(self._rows)))
        self._places = torch.cat([replaced.nonzero().flatten(), grown])
        self.hashes = torch.cat([self.hashes, new.new_zeros(len(grown))])
        self.hashes[self._places] = new[self._rows]
        for target, values in labels.items():
            self._put(self._labels, target, values)

    def receive(self, name: str, features: Tensor) -> None:
        """Keep the chosen rows of the features of one layer, shape ``(n, d)``."""
        self._put(self._features, name, features)

    def merge(self, shared: bool) -> None:
        """Choose among the kept samples of all processes; every process must call it."""
        every = all_gather((self.hashes, self.samples), shared)
        self._shared = shared
        self.samples = sum(samples for _, samples in every)
        hashes = torch.cat([own for own, _ in every])
        chosen = hashes.argsort(stable=True)[: self.most]
        start = sum(len(own) for own, _ in every[: rank_and_world_size()[0]]) if len(every) > 1 else 0
        own = chosen[(chosen >= start) & (chosen < start + len(self.hashes))]
        self._own = own.sort().values - start
        # The features of all processes lie one process after the other, and are put in the order of the hashes.
        self._order = chosen.argsort().argsort()

    def features(self, name: str) -> Tensor:
        """Return the kept features of a layer, shape ``(m, d)``; every process must call it."""
        return self._gathered(self._features.get(name))

    def labels(self) -> dict[str, Tensor]:
        """Return the kept labels by target; every process must call it."""
        targets = list(dict.fromkeys(name for names in all_gather(list(self._labels), self._shared) for name in names))
        return {target: self._gathered(self._labels.get(target)) for target in targets}

    def state(self) -> State:
        """Return what is kept so far."""
        held = len(self.hashes)
        kept = [
            {name: values if len(values) == held else values[:held].clone() for name, values in own.items()}
            for own in (self._labels, self._features)
        ]
        return {"samples": self.samples, "hashes": self.hashes, "labels": kept[0], "features": kept[1]}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.samples, self.hashes = state["samples"], state["hashes"]
        self._labels, self._features = ({}, {})
        for held, values in ((self._labels, state["labels"]), (self._features, state["features"])):
            for name, own in values.items():
                held[name] = self._room(own)
                held[name][: len(own)] = own

    def _put(self, held: dict[str, Tensor], name: str, values: Tensor) -> None:
        if not len(self._rows):
            return
        if name not in held:
            held[name] = self._room(values)
        held[name][self._places] = values.detach()[self._rows.to(values.device)].to("cpu", held[name].dtype)

    def _room(self, values: Tensor) -> Tensor:
        """Room for as many rows as are kept, which takes memory as it is filled."""
        return torch.empty(self.most, *values.shape[1:], dtype=values.dtype)

    def _gathered(self, held: Tensor | None) -> Tensor:
        parts = all_gather(None if held is None else held[self._own], self._shared)
        values = torch.cat([own for own in parts if own is not None])
        return values[self._order]


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Well mixed 64 bits of each number (SplitMix64: Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))
