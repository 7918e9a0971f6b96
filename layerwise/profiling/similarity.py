"""The similarity of layers: within one network, or between two."""

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
from layerwise.errors import InvalidArgument, InvalidData, UnknownName
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
        "the similarity of layers is no metric, and uses no labels",
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

    ``CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`` with the Gram matrices ``K``, ``L`` of the samples in two layers;
    in ``[0, 1]``, up to the noise of the estimate. Invariant to rotation, shift and scale of either layer. The unbiased
    estimate is summed over batches, so no features are kept; larger batches have less noise.

    Parameters
    ----------
    model, data, device, batch_size, settings, **options
        As for `layerwise.profile`, for both networks.
    other : Module or str, optional
        The network to compare with, such as the base of a fine-tuned one; the same by default. Each prepares the data
        in its own way.
    other_data : optional
        The same samples in the same batches, prepared for the other network. Data whose labels or inputs show other
        samples, or another order, is refused.
    split : str, optional
        By default ``train``, or the first one if there is no ``train``.

    Returns
    -------
    Dataset
        ``cka`` with the dims ``(layer, other_layer)``. The attribute ``left_out`` counts the samples of batches that
        were too small, and ``same_samples`` records what shows that both networks had the same samples.

    Raises
    ------
    UnknownName
        If there is no such split.
    InvalidArgument
        If a setting is given that has no effect, such as ``jackknife``.
    InvalidData
        If all batches have fewer than four samples, or the networks are given different samples, or the same ones in
        another order.

    References
    ----------
    Kornblith et al. 2019, Similarity of neural network representations revisited, arXiv:1905.00414.
    Nguyen, Raghu & Kornblith 2021, Do wide and deep networks learn the same things?, arXiv:2010.15327.

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
        raise InvalidArgument(f"similarity compares whole samples; reduce={asked.reduce!r} keeps their parts apart")
    first = Profiler(model, data, device=device, batch_size=batch_size, settings=asked)
    second = first
    if other_data is not None or not (other is None or other is model):
        second_model, second_data = model if other is None else other, data if other_data is None else other_data
        second = Profiler(second_model, second_data, device=device, batch_size=batch_size, settings=asked)
    name = _split(first, split)
    pairing = Pairing(first.loaders.fingerprint, second.loaders.fingerprint)
    pairs = PairwiseHSIC(len(first.readings), len(second.readings))
    with ExitStack() as stack:
        for profiler in (first, second):
            stack.enter_context(kept_buffers(profiler.network.model))
        first_grams = stack.enter_context(_grams(first))
        second_grams = first_grams if second is first else stack.enter_context(_grams(second))
        separate = isinstance(data, str) or other_data is not None
        for number, (batch, other_batch) in enumerate(_batches(first, second, name, pairing, separate=separate)):
            with in_batch(first.network.model, name, _STEP, number):
                matrices = other_matrices = first_grams(batch)
            if second is not first:
                with in_batch(second.network.model, name, _STEP, number):
                    other_matrices = second_grams(other_batch)
            pairs.update(matrices, other_matrices)
    if not pairs.batches:
        raise InvalidData(f"every batch of split {name!r} has fewer than four samples: give larger ones")
    return _dataset(pairs, first, second, name, pairing.evidence())


@contextmanager
def _grams(profiler: Profiler) -> Iterator[Callable[[Batch], list[Tensor]]]:
    """Open the hooks, and yield a function from a batch to the Gram matrix of every layer."""
    by_layer: dict[str, Tensor] = {}

    def receive(reading: LayerReading, features: Tensor) -> None:
        by_layer[reading.name] = gram(features)

    with reading_features(profiler.network, profiler.readings, receive) as run:

        def matrices(batch: Batch) -> list[Tensor]:
            run(batch)
            return [by_layer[reading.name] for reading in profiler.readings]

        yield matrices


def _split(profiler: Profiler, split: str | None) -> str:
    names = list(profiler.loaders.splits)
    if split is not None and split not in names:
        raise UnknownName("split", split, names)
    return split or ("train" if "train" in names else names[0])


def _batches(
    first: Profiler, second: Profiler, split: str, pairing: Pairing, *, separate: bool
) -> Iterator[tuple[Batch, Batch]]:
    """Yield the same samples for each network; if `separate`, each network reads and prepares its own."""
    raw_batches = bar(first.loaders.splits[split], f"{split} {_STEP}")
    if separate and second is not first:
        other_raw = second.loaders.splits[_split(second, split)]
        readers = (first.network.batches(raw_batches), second.network.batches(other_raw))
        for batch, other_batch in zip_longest(*(read_batches(batches, split, _STEP) for batches in readers)):
            pairing.check(batch, other_batch)
            yield batch, other_batch
        return

    def prepared(raw: Any) -> tuple[Batch, Batch]:
        batch = first.network.batch(raw)
        return batch, batch if second is first else second.network.batch(raw)

    yield from read_batches(map(prepared, raw_batches), split, _STEP)


def _dataset(pairs: PairwiseHSIC, first: Profiler, second: Profiler, split: str, same_samples: str) -> xr.Dataset:
    def layer_coordinates(readings: Sequence[LayerReading], prefix: str) -> dict[str, tuple[str, list[Any]]]:
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
        "model": first.prepared.model_name,
        "other_model": second.prepared.model_name,
        "model_hash": weight_hash(first.network.model),
        "other_model_hash": weight_hash(second.network.model),
        "data": first.loaders.name,
        "split": split,
        "left_out": pairs.skipped,
        "same_samples": same_samples,
        **environment(),
    }
    coordinates = layer_coordinates(first.readings, "") | layer_coordinates(second.readings, "other_")
    return xr.Dataset({"cka": (("layer", "other_layer"), pairs.finish(), about)}, coordinates, attributes)
