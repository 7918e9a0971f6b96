"""How alike the layers of a network are, to one another or to those of another network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData, UnknownName
from layerwise.layers import depths
from layerwise.network import Reading
from layerwise.profiling import Profiler
from layerwise.progress import bar
from layerwise.provenance import environment, weight_hash
from layerwise.reduce import DENSE
from layerwise.settings import Settings, chosen
from layerwise.statistics import PairwiseHSIC, gram

__all__ = ["similarity"]


def similarity(
    model: nn.Module | str,
    data: Any,
    other: nn.Module | str | None = None,
    *,
    split: str | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    settings: Settings | None = None,
    **options: Any,
) -> xr.Dataset:
    """Linear CKA between all pairs of layers of a network, or of two, in one run of the data.

    ``CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`` of the Gram matrices of the samples; in ``[0, 1]`` but for the
    noise of the estimate. Invariant to rotation, shift and scale of either layer. The unbiased estimate is summed over
    batches, so that no features are kept; larger batches have less noise. Kornblith et al. 2019; Nguyen, Raghu &
    Kornblith 2021.

    Parameters
    ----------
    model, data, device, batch_size
        As for `layerwise.profile`.
    other : Module or str, optional
        The network to compare with, such as the base of a fine-tuned one; the same by default. Each prepares the data
        in its own way.
    split : str, optional
        ``train`` if there is one by default, else the first.
    settings : Settings, optional
    **options
        Fields of `Settings`; ``layers`` and ``reduce`` hold for both networks.

    Returns
    -------
    Dataset
        ``cka`` with the dims ``(layer, other_layer)``; the attribute ``left_out`` counts the samples of batches that
        were too small.

    Raises
    ------
    UnknownName
        If there is no such split.
    InvalidData
        If all batches have fewer than four samples.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    >>> x, y = torch.randn(30, 8), torch.arange(30) % 3
    >>> similarity(net, [(x, y)])["cka"].dims
    ('layer', 'other_layer')
    """
    asked = chosen(settings, {"metrics": "feature_norm", **options})
    if asked.reduce in DENSE:
        raise InvalidData(f"similarity compares whole samples; reduce={asked.reduce!r} keeps their parts apart")
    one = Profiler(model, data, asked, device=device, batch_size=batch_size)
    two = one if other is None or other is model else Profiler(other, data, asked, device=device, batch_size=batch_size)
    name = _split(one, split)
    pairs = PairwiseHSIC(len(one.readings), len(two.readings))
    with ExitStack() as stack:
        first = stack.enter_context(_grams(one))
        second = first if two is one else stack.enter_context(_grams(two))
        for batch, beside in _batches(one, two, name, by_name=isinstance(data, str)):
            matrices = first(batch)
            pairs.update(matrices, matrices if two is one else second(beside))
    if not pairs.batches:
        raise InvalidData(f"every batch of split {name!r} has fewer than four samples: give larger ones")
    return _dataset(pairs, one, two, name)


@contextmanager
def _grams(profiler: Profiler) -> Iterator[Callable[[Batch], list[Tensor]]]:
    """Open the hooks; gives a function from a batch to the Gram matrix of every layer."""
    found: dict[str, Tensor] = {}

    def receive(reading: Reading, features: Tensor) -> None:
        found[reading.name] = gram(features)

    with profiler.network.reading(profiler.readings, receive) as run:

        def matrices(batch: Batch) -> list[Tensor]:
            run(batch)
            return [found[reading.name] for reading in profiler.readings]

        yield matrices


def _split(profiler: Profiler, split: str | None) -> str:
    there = list(profiler.loaders.splits)
    if split is not None and split not in there:
        raise UnknownName("split", split, there)
    return split or ("train" if "train" in there else there[0])


def _batches(one: Profiler, two: Profiler, split: str, *, by_name: bool) -> Iterator[tuple[Batch, Batch]]:
    """The same samples as each network takes them: of data by name, each reads its own."""
    mine = bar(one.loaders.splits[split], f"{split} similarity")
    if by_name and two is not one:
        theirs = two.network.batches(two.loaders.splits[split])
        yield from zip(one.network.batches(mine), theirs, strict=True)
        return
    for raw in mine:
        batch = one.network.batch(raw)
        yield batch, batch if two is one else two.network.batch(raw)


def _dataset(pairs: PairwiseHSIC, one: Profiler, two: Profiler, split: str) -> xr.Dataset:
    def of(readings: Sequence[Reading], prefix: str) -> dict[str, tuple[str, list[Any]]]:
        dim = f"{prefix}layer"
        layers = [reading.layer for reading in readings]
        return {
            dim: (dim, [reading.name for reading in readings]),
            f"{prefix}depth": (dim, depths(layers)),
            f"{prefix}reduction": (dim, [reading.stated for reading in readings]),
            f"{prefix}features": (dim, [reading.features for reading in readings]),
        }

    about = {
        "long_name": "linear centred kernel alignment",
        "units": "1",
        "direction": "none",
        "reference": "Kornblith 2019; Nguyen 2021",
    }
    attributes = {
        "model": one.model_name,
        "other_model": two.model_name,
        "model_hash": weight_hash(one.network.model),
        "other_model_hash": weight_hash(two.network.model),
        "data": one.loaders.name,
        "split": split,
        "left_out": pairs.skipped,
        **environment(),
    }
    coordinates = of(one.readings, "") | of(two.readings, "other_")
    return xr.Dataset({"cka": (("layer", "other_layer"), pairs.finish(), about)}, coordinates, attributes)
