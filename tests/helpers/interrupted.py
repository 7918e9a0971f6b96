"""Profiles that are killed after a few batches, and how they are compared with those that were not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import xarray as xr
from helpers.networks import blobs, loader
from torch import Tensor, nn


def through_kills(network: nn.Module, measure: Callable[[], xr.Dataset], forwards: int = 3) -> xr.Dataset:
    """Return the result of `measure`, killed and called again whenever the network has run on `forwards` batches."""
    left = forwards

    def stop(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal left
        # Few samples are run before the data is, to find axes and to check company.
        left -= not args or len(args[0]) > 4
        if left < 0:
            raise KeyboardInterrupt

    handle = network.register_forward_pre_hook(stop)
    try:
        for _ in range(20):
            left = forwards
            try:
                return measure()
            except KeyboardInterrupt:
                continue
    finally:
        handle.remove()
    raise AssertionError("the profile never got to its end")


class Interrupted(BaseException):
    """In place of a kill."""


class Loader:
    """Batches that stop after so many in all, over all of its runs and those of its neighbours."""

    def __init__(self, batches: list[tuple[torch.Tensor, torch.Tensor]], left: list[float]) -> None:
        self.batches = batches
        self.left = left
        # A loader whose samples can be counted.
        self.dataset = range(sum(len(labels) for _, labels in batches))

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in self.batches:
            if self.left[0] <= 0:
                raise Interrupted
            self.left[0] -= 1
            yield batch


def loaders(left: float) -> dict[str, Loader]:
    budget = [left]
    return {"train": Loader(loader(*blobs()), budget), "test": Loader(loader(*blobs(30, seed=1)), budget)}


def assert_identical(one: xr.Dataset, other: xr.Dataset) -> None:
    xr.testing.assert_identical(one.drop_attrs(deep=False), other.drop_attrs(deep=False))
    for name in ("samples", "data_fingerprint", "plan", "model_hash"):
        assert one.attrs[name] == other.attrs[name]
