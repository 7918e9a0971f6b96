"""How alike the layers of a network are, to one another or to those of another network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Unpack

import torch
import xarray as xr
from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.arguments import checked
from layerwise.errors import InvalidData, UnknownName
from layerwise.features.read_features import reading_features
from layerwise.features.reading import LayerReading
from layerwise.features.reduction import DENSE
from layerwise.network.failures import in_batch, read_batches
from layerwise.network.inference import kept_buffers
from layerwise.network.layer import depths
from layerwise.network.weights import weight_hash
from layerwise.profiling.profiler import Profiler
from layerwise.profiling.same_samples import Pairing
from layerwise.runtime.environment import environment
from layerwise.runtime.progress import bar
from layerwise.settings import ARGUMENTS, Settings, SettingsOptions, merge_settings, refuse_without_effect
from layerwise.statistics import PairwiseHSIC, gram

__all__ = ["similarity"]

_STEP = "similarity"
_WITHOUT_EFFECT = {
    **dict.fromkeys(("jackknife", "null"), "the similarity of layers has no standard error, and nothing is shuffled"),
    **dict.fromkeys(
        ("metrics", "convention", "debiased", "frame", "standardize", "heads", "ridge", "directions"),
        "the similarity of layers is no metric, and knows no labels",
    ),
}


@checked(ARGUMENTS)
def similarity(
    model: nn.Module | str,
    data: Any,
    other: nn.Module | str | None = None,
    *,
    other_data: Any = None,
    split: str | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    settings: Settings | None = None,
    **options: Unpack[SettingsOptions],
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
    other_data : optional
        The same samples in the same batches, as the other network takes them: a loader with its own preprocessing. Data
        that is not the same, or in another order, is refused as far as its labels and inputs tell.
    split : str, optional
        ``train`` if there is one by default, else the first.
    settings : Settings, optional
    **options
        Fields of `Settings`; ``layers`` and ``reduce`` hold for both networks.

    Returns
    -------
    Dataset
        ``cka`` with the dims ``(layer, other_layer)``; the attribute ``left_out`` counts the samples of batches that
        were too small, ``same_samples`` says how it is known that both networks saw the same ones.

    Raises
    ------
    UnknownName
        If there is no such split.
    InvalidData
        If a setting is given that has no effect on it, such as ``jackknife``; if all batches have fewer than four
        samples, or the networks are given other samples, or the same in another order.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    >>> x, y = torch.randn(30, 8), torch.arange(30) % 3
    >>> similarity(net, [(x, y)])["cka"].dims
    ('layer', 'other_layer')
    """
    asked = merge_settings(settings, options, ("other", "other_data", "split", "device", "batch_size", "settings"))
    refuse_without_effect(asked, _WITHOUT_EFFECT)
    asked = replace(asked, metrics="feature_norm")
    if asked.reduce in DENSE:
        raise InvalidData(f"similarity compares whole samples; reduce={asked.reduce!r} keeps their parts apart")
    one = Profiler(model, data, device=device, batch_size=batch_size, settings=asked)
    two = one
    if other_data is not None or not (other is None or other is model):
        theirs = data if other_data is None else other_data
        two = Profiler(model if other is None else other, theirs, device=device, batch_size=batch_size, settings=asked)
    name = _split(one, split)
    pairing = Pairing(one.loaders.fingerprint, two.loaders.fingerprint)
    pairs = PairwiseHSIC(len(one.readings), len(two.readings))
    with ExitStack() as stack:
        for profiler in (one, two):
            stack.enter_context(kept_buffers(profiler.network.model))
        first = stack.enter_context(_grams(one))
        second = first if two is one else stack.enter_context(_grams(two))
        apart = isinstance(data, str) or other_data is not None
        for number, (batch, beside) in enumerate(_batches(one, two, name, pairing, apart=apart)):
            with in_batch(one.network.model, name, _STEP, number):
                matrices = others = first(batch)
            if two is not one:
                with in_batch(two.network.model, name, _STEP, number):
                    others = second(beside)
            pairs.update(matrices, others)
    if not pairs.batches:
        raise InvalidData(f"every batch of split {name!r} has fewer than four samples: give larger ones")
    return _dataset(pairs, one, two, name, pairing.told())


@contextmanager
def _grams(profiler: Profiler) -> Iterator[Callable[[Batch], list[Tensor]]]:
    """Open the hooks; gives a function from a batch to the Gram matrix of every layer."""
    found: dict[str, Tensor] = {}

    def receive(reading: LayerReading, features: Tensor) -> None:
        found[reading.name] = gram(features)

    with reading_features(profiler.network, profiler.readings, receive) as run:

        def matrices(batch: Batch) -> list[Tensor]:
            run(batch)
            return [found[reading.name] for reading in profiler.readings]

        yield matrices


def _split(profiler: Profiler, split: str | None) -> str:
    there = list(profiler.loaders.splits)
    if split is not None and split not in there:
        raise UnknownName("split", split, there)
    return split or ("train" if "train" in there else there[0])


def _batches(
    one: Profiler, two: Profiler, split: str, pairing: Pairing, *, apart: bool
) -> Iterator[tuple[Batch, Batch]]:
    """The same samples as each network takes them; each reads its own where data is read by name, or is `apart`."""
    mine = bar(one.loaders.splits[split], f"{split} {_STEP}")
    if apart and two is not one:
        theirs = two.network.batches(two.loaders.splits[_split(two, split)])
        both = (read_batches(batches, split, _STEP) for batches in (one.network.batches(mine), theirs))
        for batch, beside in zip_longest(*both):
            pairing.check(batch, beside)
            yield batch, beside
        return

    def taken(raw: Any) -> tuple[Batch, Batch]:
        batch = one.network.batch(raw)
        return batch, batch if two is one else two.network.batch(raw)

    yield from read_batches(map(taken, mine), split, _STEP)


def _dataset(pairs: PairwiseHSIC, one: Profiler, two: Profiler, split: str, same_samples: str) -> xr.Dataset:
    def of(readings: Sequence[LayerReading], prefix: str) -> dict[str, tuple[str, list[Any]]]:
        dim = f"{prefix}layer"
        layers = [reading.layer for reading in readings]
        return {
            dim: (dim, [reading.name for reading in readings]),
            f"{prefix}depth": (dim, depths(layers)),
            f"{prefix}reduction": (dim, [reading.stated for reading in readings]),
            f"{prefix}features": (dim, [reading.features for reading in readings]),
            f"{prefix}shape": (dim, ["x".join(map(str, layer.shape)) for layer in layers]),
        }

    about = {
        "long_name": "linear centred kernel alignment",
        "units": "1",
        "direction": "none",
        "reference": "Kornblith 2019; Nguyen 2021",
    }
    attributes = {
        "model": one.prepared.model_name,
        "other_model": two.prepared.model_name,
        "model_hash": weight_hash(one.network.model),
        "other_model_hash": weight_hash(two.network.model),
        "data": one.loaders.name,
        "split": split,
        "left_out": pairs.skipped,
        "same_samples": same_samples,
        **environment(),
    }
    coordinates = of(one.readings, "") | of(two.readings, "other_")
    return xr.Dataset({"cka": (("layer", "other_layer"), pairs.finish(), about)}, coordinates, attributes)
