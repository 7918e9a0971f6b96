"""Whether the features of a sample depend on its company: on the other samples of its batch, their order, and padding.

They must not, or a profile would describe the batches and not the samples. Every mistake on the way into the features
shows here: a wrong axis, padding that leaks in, batch norm or dropout in training mode, samples that a module mixes, a
state that is kept between batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.features.padding import Padding, more_padding
from layerwise.features.read_features import reading_features
from layerwise.features.reading import LayerReading
from layerwise.network.kept_state import kept_state
from layerwise.network.network import Network
from layerwise.network.rows import with_rows

__all__ = ["SAMPLES", "SLACK", "Company", "Difference", "compare_company", "difference"]

#: Samples that are run again.
SAMPLES = 4
#: Kernels for batches of other sizes were seen to differ by up to one and a half times the rounding.
SLACK = 4.0
# In wider layers, every k-th feature is compared.
_MOST_FEATURES = 1 << 14


@dataclass(frozen=True)
class Difference:
    """How far the features of the same samples differ between two runs, in one layer.

    Attributes
    ----------
    distance : float
        Root mean square of the difference of the features.
    spread : float
        Root mean square of the features less their mean over the samples; of the features themselves for one sample.
    rounding : float
        The distance that the precision of the network's arithmetic may make.
    """

    distance: float
    spread: float
    rounding: float

    @property
    def share(self) -> float:
        """The distance in units of the spread."""
        if self.distance <= 0:
            return 0.0
        return self.distance / self.spread if self.spread > 0 else float("inf")

    def exceeds(self, share: float) -> bool:
        """Return whether the distance is more than a share of the spread, and more than rounding can make."""
        least = share * self.spread
        return self.distance > (least if least >= self.rounding else SLACK * self.rounding)


@dataclass(frozen=True)
class Company:
    """What the features of a few samples depend on, by layer.

    Attributes
    ----------
    mixed : dict of str to Difference
        Differences when samples run alone and in another order.
    padded : dict of str to Difference
        Differences when they are padded more; empty where they have no mask, or the network takes no more padding.
    padding : Padding or None
        The padding that was added.
    """

    mixed: dict[str, Difference]
    padded: dict[str, Difference]
    padding: Padding | None


def compare_company(
    network: Network, readings: Sequence[LayerReading], batch: Batch, roundings: Mapping[str, float]
) -> Company:
    """Run a few samples of a batch together, one of them alone, all in another order, and all with more padding.

    The network is left as it was: its buffers, the attributes of its modules, and random numbers.

    Parameters
    ----------
    network : Network
    readings : sequence of LayerReading
    batch : Batch
    roundings : mapping of str to float
        Relative rounding error of each layer (`layerwise.features.precision.roundings_of`).

    Returns
    -------
    Company
    """
    few = with_rows(batch, range(min(SAMPLES, batch.size)))
    with kept_state(network.model):
        together = _features(network, readings, few)

        def differences(other: Mapping[str, Tensor], rows: Sequence[int]) -> dict[str, Difference]:
            return {
                name: difference(other[name], values[list(rows)], values, roundings[name])
                for name, values in together.items()
                if name in other
            }

        alone = differences(*_alone(network, readings, few))
        backwards = list(range(few.size))[::-1]
        turned = differences(_features(network, readings, with_rows(few, backwards)), backwards)
        longer = more_padding(network, few)
        padded = {}
        if longer is not None:
            try:
                padded = differences(_features(network, readings, *longer), range(few.size))
            except Exception:
                # A layer that is flattened, or a network that takes only one length.
                longer = None
    mixed = {name: max(alone.get(name, other), other, key=lambda item: item.distance) for name, other in turned.items()}
    return Company(mixed, padded, None if longer is None else longer[1])


def _alone(network: Network, readings: Sequence[LayerReading], few: Batch) -> tuple[dict[str, Tensor], list[int]]:
    """Return the features of the last sample by itself; of the last and the first where a batch of one does not run."""
    rows = [few.size - 1]
    try:
        return _features(network, readings, with_rows(few, rows)), rows
    except Exception:
        rows = [few.size - 1, 0]
        return _features(network, readings, with_rows(few, rows)), rows


def _features(
    network: Network, readings: Sequence[LayerReading], batch: Batch, padding: Padding | None = None
) -> dict[str, Tensor]:
    """Return the features of all layers in float64, without padding that was added, shape ``(n, d)``."""
    kept: dict[str, Tensor] = {}
    real = None if batch.mask is None else batch.mask != 0

    def receive(reading: LayerReading, features: Tensor) -> None:
        if features.ndim == 3:
            # Every token is read, but those of padding do not count.
            if real is not None and real.shape == features.shape[:2]:
                features = torch.where(real[..., None].to(features.device), features, 0.0)
            features = features if padding is None else padding.strip(features)
        flat = features.flatten(1)
        step = -(-flat.shape[1] // _MOST_FEATURES)
        kept[reading.name] = flat[:, ::step].detach().cpu().double()

    with reading_features(network, readings, receive) as run:
        run(batch)
    return kept


def difference(other: Tensor, values: Tensor, whole: Tensor, rounding: float) -> Difference:
    """Measure how far features of the same samples differ, with the spread and the rounding of all samples."""
    mismatch = bool((torch.isfinite(other) != torch.isfinite(values)).any())
    differences = torch.where(other == values, 0.0, other - values).nan_to_num(0.0, 0.0, 0.0)
    finite = whole.nan_to_num(0.0, 0.0, 0.0)
    spread = float((finite - finite.mean(0)).square().mean().sqrt())
    size = float(finite.square().mean().sqrt())
    spread = spread if len(finite) > 1 else size
    distance = float("inf") if mismatch else float(differences.square().mean().sqrt())
    return Difference(distance, spread, rounding * size)
