"""What is to be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from layerwise.features.reading import LayerReading
from layerwise.features.reduction import DENSE
from layerwise.features.sketch import Sketch
from layerwise.passes.plan import Plan
from layerwise.passes.vocabulary import Vocabulary

__all__ = ["PassRequest"]


@dataclass(frozen=True)
class PassRequest:
    """What is to be measured.

    Attributes
    ----------
    readings : sequence of Reading
        The layers.
    needs : frozenset of str
        Statistics that the metrics ask for.
    targets : tuple of str
        The targets that every batch has labels of.
    classes : mapping of str to int
        Declared number of classes of a target; targets that are missing here take it from their labels.
    plan : Plan
    vocabularies : mapping of str to Vocabulary
        The classes of every target that has any: one measurement's, which its splits add to.
    names : mapping of str to sequence of str
        Names of declared classes, where they have any.
    score_names : sequence of str
        What the network calls its own class scores; none where it does not say.
    heads : mapping of str to str
        The output or layer that judges a target, by target, where the caller says so.
    dimensions : mapping of str to int
        Dimension of every regression target.
    standardize : bool
        Whether regression targets are counted in units of their standard deviations on the training split.
    ridge : float
        Regularisation of the ridge classifier.
    nonfinite : {"raise", "drop"}
        What to do with samples that have NaN or infinity in a layer.
    seed : int
        Of random projections and directions.
    directions : int or "exact"
        Random directions that layers are derived along, or all axes of the input.
    jackknife : int
        Groups of samples, without each of which everything is measured again; 0 for none.
    null : int
        Shuffles of the labels, under each of which everything is measured again; 0 for none.
    reduction : str
        As the caller asked for it.
    ignored : tuple of int
        Labels of tokens or pixels that do not count.
    samples_per_class : int, optional
        Tokens or pixels of a class that are drawn; all by default.
    """

    readings: Sequence[LayerReading]
    needs: frozenset[str]
    targets: tuple[str, ...]
    classes: Mapping[str, int]
    plan: Plan
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    score_names: Sequence[str] = ()
    heads: Mapping[str, str] = field(default_factory=dict)
    dimensions: Mapping[str, int] = field(default_factory=dict)
    standardize: bool = False
    ridge: float = 1e-3
    nonfinite: Literal["raise", "drop"] = "raise"
    seed: int = 0
    directions: int | Literal["exact"] = 8
    jackknife: int = 0
    null: int = 0
    reduction: str = "auto"
    ignored: tuple[int, ...] = ()
    samples_per_class: int | None = None

    @property
    def ordered(self) -> bool:
        """Whether samples have to come in the same order in every run."""
        return self.jackknife > 0 or self.null > 0

    @property
    def positions(self) -> bool:
        """Whether every token or pixel is a sample."""
        return self.reduction in DENSE

    def rows(self, target: str) -> int:
        """How many rows a target's statistics have from the start: one for each declared class, if they are few."""
        own = self.vocabularies.get(target)
        return len(own) if own is not None and own.declared else 0

    @property
    def wide(self) -> list[LayerReading]:
        """The layers whose covariance is that of the span of all samples, which are few."""
        limit = self.plan.covariance_width
        return [reading for reading in self.readings if self.plan.spans and 0 < limit < reading.features]

    def narrowing(self, reading: LayerReading) -> Sketch | None:
        """The projection that a layer's covariance is taken of; None where it is that of the layer itself."""
        if not 0 < self.plan.covariance_width < reading.features or self.plan.spans:
            return None
        return Sketch(reading.features, self.plan.projected_width, self.seed)

    @property
    def projected(self) -> list[LayerReading]:
        """The layers whose covariance is that of a random projection."""
        return [reading for reading in self.readings if self.narrowing(reading) is not None]
