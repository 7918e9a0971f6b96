"""What all measurements of one profiler share, as the stages before the first sweep decided it."""

from __future__ import annotations

from dataclasses import dataclass

from layerwise.profiling.layer_selection import LayerSelection
from layerwise.profiling.metric_selection import MetricSelection
from layerwise.profiling.prepare import Inputs
from layerwise.settings import Settings

__all__ = ["FeatureChecks", "Prepared"]


@dataclass(frozen=True)
class FeatureChecks:
    """What the checks of the first batch found.

    Attributes
    ----------
    company : str
        Whether features depend on the other samples of their batch, or why it was not checked.
    padding : str
        What becomes of padding.
    """

    company: str
    padding: str


@dataclass(frozen=True)
class Prepared:
    """Model, data, metrics and layers that are ready to be measured.

    Attributes
    ----------
    settings : Settings
    model_name : str
    inputs : Inputs
    metrics : MetricSelection
    layers : LayerSelection
    checks : FeatureChecks
    """

    settings: Settings
    model_name: str
    inputs: Inputs
    metrics: MetricSelection
    layers: LayerSelection
    checks: FeatureChecks
