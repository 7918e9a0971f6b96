"""What the passes over the splits of one measurement are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from layerwise.features.reading import LayerReading
from layerwise.features.reduction import DENSE
from layerwise.features.sketch import Sketch
from layerwise.passes.plan import Plan
from layerwise.passes.vocabulary import Vocabulary
from layerwise.settings import Settings

__all__ = ["PassRequest"]


@dataclass(frozen=True)
class PassRequest:
    """What is to be measured.

    Attributes
    ----------
    readings : sequence of LayerReading
        The layers.
    needs : frozenset of str
        Statistics that the metrics ask for.
    targets : tuple of str
        The targets that every batch has labels of.
    classes : mapping of str to int
        Declared number of classes of a target; targets that are missing here take it from their labels.
    plan : Plan
    settings : Settings
        How the caller wants it measured.
    vocabularies : mapping of str to Vocabulary
        The classes of every target that has any; the splits of one measurement add to them.
    names : mapping of str to sequence of str
        Names of declared classes, where they have any.
    score_names : sequence of str
        The network's names of its class scores; none where it has none.
    dimensions : mapping of str to int
        Dimension of every regression target.
    """

    readings: Sequence[LayerReading]
    needs: frozenset[str]
    targets: tuple[str, ...]
    classes: Mapping[str, int]
    plan: Plan
    settings: Settings = field(default_factory=Settings)
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    score_names: Sequence[str] = ()
    dimensions: Mapping[str, int] = field(default_factory=dict)

    @property
    def ordered(self) -> bool:
        """Whether samples have to come in the same order in every run."""
        return self.settings.jackknife > 0 or self.settings.null > 0

    @property
    def positions(self) -> bool:
        """Whether every token or pixel is a sample."""
        return self.settings.reduce in DENSE

    @property
    def ignored(self) -> tuple[int, ...]:
        """Labels of tokens or pixels that do not count."""
        return self.settings.ignored(max(map(len, self.names.values()), default=0))

    def rows(self, target: str) -> int:
        """Return how many rows a target's statistics have from the start: one for each declared class, if few."""
        vocabulary = self.vocabularies.get(target)
        return len(vocabulary) if vocabulary is not None and vocabulary.declared else 0

    @property
    def wide(self) -> list[LayerReading]:
        """The layers whose covariance is that of the span of all samples, which are few."""
        limit = self.plan.covariance_width
        return [reading for reading in self.readings if self.plan.spans and 0 < limit < reading.features]

    def narrowing(self, reading: LayerReading) -> Sketch | None:
        """Return the projection that a layer's covariance is taken of; None where it is that of the layer itself."""
        if not 0 < self.plan.covariance_width < reading.features or self.plan.spans:
            return None
        return Sketch(reading.features, self.plan.projected_width, self.settings.seed)

    @property
    def projected(self) -> list[LayerReading]:
        """The layers whose covariance is that of a random projection."""
        return [reading for reading in self.readings if self.narrowing(reading) is not None]
