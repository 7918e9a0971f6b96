"""Networks of either zoo with a few samples: what axes and company are measured on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.coverage import inputs as made_up
from benchmarks.coverage import timm_zoo, transformers_zoo
from layerwise.adapters.protocol import Batch
from layerwise.network.network import Network
from layerwise.network.resolve import find_network

__all__ = ["network_and_batch"]


def network_and_batch(zoo: str, name: str, samples: int, *, meta: bool = False) -> tuple[Network, Batch]:
    """A network of random weights and a batch of so many samples.

    Parameters
    ----------
    zoo : {"timm", "transformers"}
    name : str
        An architecture of timm, or ``KIND/TYPE`` of transformers.
    samples : int
    meta : bool
        Whether a network of timm may be without numbers, on the meta device.
    """
    if zoo == "timm":
        model, pictures = timm_zoo.made(name, meta=meta)
        inputs = pictures.new_empty(samples, *pictures.shape[1:])
        inputs = inputs if inputs.is_meta else torch.randn_like(inputs)
    else:
        with _samples(samples):
            model, inputs = transformers_zoo.running(*name.split("/"))
    network, _ = find_network(model, None)
    labels = torch.arange(samples, device=network.device) % 2
    return network, network.batch({**inputs, "labels": labels} if isinstance(inputs, dict) else (inputs, labels))


@contextmanager
def _samples(count: int) -> Iterator[None]:
    """Make up inputs of so many samples."""
    usual, made_up.SAMPLES = made_up.SAMPLES, count
    try:
        yield
    finally:
        made_up.SAMPLES = usual
