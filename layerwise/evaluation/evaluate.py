"""From finished statistics to numbers: every metric of every target and layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import cast

import numpy as np
from torch import nn

from layerwise.evaluation.dataset import CLASS_NETWORK_ERROR, NETWORK_ERROR, NETWORK_MIOU, NETWORK_MSE, OF_NETWORK
from layerwise.evaluation.target_frames import frame_of
from layerwise.evaluation.uncertainty import jackknife, under_chance, with_bias, with_chance, with_error
from layerwise.features.reading import LayerReading
from layerwise.metrics import Convention, Metric, compute
from layerwise.metrics.limits import has_enough_samples, is_empty_fit
from layerwise.metrics.registry import no_value
from layerwise.network.graph.linear_maps import weights_beside
from layerwise.network.graph.map_weights import Weights
from layerwise.passes import Replicates, SplitResult
from layerwise.passes.evidence import Evidence
from layerwise.runtime.module_paths import clean_name
from layerwise.settings import Settings
from layerwise.statistics import Moments

__all__ = ["Evaluation", "SplitNumbers"]


@dataclass(frozen=True)
class SplitNumbers:
    """The numbers of one split.

    Attributes
    ----------
    numbers : Numbers
    next_maps : dict of str to str
        Names of the linear maps that read each layer, in the order of the layers; empty where there is none.
    """

    numbers: dict[str, dict[tuple[str, str], np.ndarray]]
    next_maps: dict[str, str]


@dataclass(frozen=True)
class Evaluation:
    """Computes metrics from statistics, conventions and the network's own maps.

    Attributes
    ----------
    model : Module
    readings : sequence of LayerReading
        The layers, in execution order.
    settings : Settings
    convention : Convention
    dimensions : mapping of str to int
        Dimension of every regression target.
    next_maps : mapping of str to tuple of str
        Paths of the linear maps that read each layer (`layerwise.network.graph.linear_maps`).
    previous_maps : mapping of str to str
        Path of the linear map that makes each layer.
    heads : mapping
        Path of the head that makes a target, by the target and the layer that comes before it.
    fed : collection of tuple of str
        Path of each head, and the name of a layer whose features are what the head reads
        (`layerwise.features.fed_heads`).
    """

    model: nn.Module
    readings: Sequence[LayerReading]
    settings: Settings
    convention: Convention
    dimensions: Mapping[str, int]
    next_maps: Mapping[str, tuple[str, ...]]
    previous_maps: Mapping[str, str]
    heads: Mapping[tuple[str, str], str]
    fed: Collection[tuple[str, str]]

    def all_numbers(self, result: SplitResult, metrics: Sequence[Metric]) -> SplitNumbers:
        """Measure a split, with the errors, biases and chance that its replicates allow for.

        The result stays as it is.

        Parameters
        ----------
        result : SplitResult
        metrics : sequence of Metric
        """
        replicates = result.replicates
        errors, chance = with_error(metrics), with_chance(metrics)
        measured: Replicates[Sequence[Metric]] = Replicates(
            metrics, [errors for _ in replicates.without], [chance for _ in replicates.shuffled]
        )
        numbers = replicates.map(_of_network)
        next_maps = {}
        # The metrics of one layer are computed at a time, with weights that are read once.
        for reading in self.readings:
            weights = self._weights(reading)
            names = () if weights is None else map(clean_name, self.next_maps[reading.name])
            next_maps[reading.name] = ", ".join(names)
            for part, own_metrics, found in zip(replicates, measured, numbers, strict=True):
                self._measure_layer(part, own_metrics, reading, weights, found)
        return SplitNumbers(_with_uncertainty(numbers, metrics), next_maps)

    def empty_fits(self, result: SplitResult, metrics: Sequence[Metric]) -> dict[str, list[str]]:
        """Return the layers of no more samples than features, by the fits that are NaN there."""
        found: dict[str, list[str]] = {}
        for metric in metrics:
            for (_, layer), evidence in result.evidence.items():
                regression = evidence.get("regression")
                if (regression is not None) != ("regression" in metric.needs):
                    continue
                covariance = evidence.get("covariance") if regression is None else regression.as_one_class
                given = {"covariance": covariance, "convention": self.convention}
                if is_empty_fit(metric, given, itself=result.judged_by_itself):
                    found.setdefault(metric.name, []).append(layer)
        return {name: list(dict.fromkeys(layers)) for name, layers in found.items()}

    def _measure_layer(
        self,
        result: SplitResult,
        metrics: Sequence[Metric],
        reading: LayerReading,
        weights: Weights | None,
        numbers: dict[str, dict[tuple[str, str], np.ndarray]],
    ) -> None:
        """Put the metrics of one layer, for one replicate of a split, into the numbers."""
        for target, classes in result.classes.items():
            key = (target, reading.name)
            evidence = self._of_classes(result, key, reading, weights)
            known = [metric for metric in metrics if key not in result.missing_classes or metric.least_classes < 2]
            _compute(known, numbers, key, evidence, classes, itself=result.judged_by_itself)
        for target in self.dimensions:
            evidence = self._of_regression(result, target, reading, weights)
            _compute(metrics, numbers, (target, reading.name), evidence, 0, itself=result.judged_by_itself)

    def _of_classes(
        self, result: SplitResult, key: tuple[str, str], reading: LayerReading, weights: Weights | None
    ) -> Evidence:
        """Return what metrics of a target with classes can ask for."""
        target, _ = key
        evidence = _copied(result.evidence.get(key, {}))
        if key in result.totals and "covariance" in evidence:
            evidence["covariance"] = result.covariance(key)
        judged = target in result.errors and self._feeds(target, reading)
        head = self._head(target, reading, weights) if judged else None
        fits = head is not None and len(head) == result.scores[target]
        evidence["convention"] = self.convention
        evidence["next_map"] = None if weights is None else weights.reading
        evidence["sizes"] = _sizes(result, key, evidence.get("moments"))
        evidence["classifier"] = head[result.rows[target]] if head is not None and fits else None
        evidence["weights"] = weights
        evidence["frame"] = frame_of(self.settings, target, result.classes[target])
        return evidence

    def _of_regression(
        self, result: SplitResult, target: str, reading: LayerReading, weights: Weights | None
    ) -> Evidence:
        """Return what metrics of a regression target can ask for."""
        evidence = _copied(result.evidence.get((target, reading.name), {"regression": None}))
        regression = evidence["regression"]
        if regression is not None:
            evidence["moments"] = evidence["covariance"] = regression.as_one_class
        head = self._head(target, reading, weights)
        named = any(of == target for of, _ in self.heads)
        judged = (named or target in result.squares) and self._feeds(target, reading)
        fits = head is not None and len(head) == self.dimensions[target]
        evidence["convention"] = self.convention
        evidence["next_map"] = head
        evidence["weights"] = weights
        evidence["head"] = head if judged and fits else None
        return evidence

    def _feeds(self, target: str, reading: LayerReading) -> bool:
        """Return whether the head of a target reads a layer's features."""
        if any(of == target for of, _ in self.heads):
            return (self.heads.get((target, reading.name), ""), reading.name) in self.fed
        # A head that is no linear map is not the map that reads the layer first.
        if (self.settings.heads or {}).get(target):
            return False
        return any((of, reading.name) in self.fed for of in self.next_maps.get(reading.name, ()))

    def _head(self, target: str, reading: LayerReading, weights: Weights | None) -> np.ndarray | None:
        """Weight of the head that is named for a target, where the layer feeds it; else of the map that reads it."""
        path = self.heads.get((target, reading.name))
        maps = weights if path is None else self._weights(reading, (path,))
        return None if maps is None else maps.reading

    def _weights(self, reading: LayerReading, paths: Sequence[str] = ()) -> Weights | None:
        """The maps beside a layer as they are now; None where its features are a random projection."""
        paths = paths or self.next_maps.get(reading.name, ())
        if not paths or reading.projection is not None:
            return None
        return weights_beside(self.model, paths, self.previous_maps.get(reading.name), reading.features)


def _with_uncertainty(
    numbers: Replicates[dict[str, dict[tuple[str, str], np.ndarray]]], metrics: Sequence[Metric]
) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """The numbers of the whole, with the errors, biases and chance that its replicates have."""
    whole = numbers.whole
    if numbers.without:
        errors = [*(variable.name for variable in OF_NETWORK), *(metric.name for metric in with_error(metrics))]
        whole |= jackknife(errors, [metric.name for metric in with_bias(metrics)], whole, numbers.without)
    if numbers.shuffled:
        whole |= under_chance(with_chance(metrics), numbers.shuffled)
    return whole


def _copied(evidence: Evidence) -> Evidence:
    """Copy one layer's statistics: what metrics cache on a copy is freed with it, and not kept for every layer."""
    # One object may have two names; its cached values serve both.
    copies = {id(value): copy(value) for value in evidence.values()}
    return cast(Evidence, {name: copies[id(value)] for name, value in evidence.items()})


def _sizes(result: SplitResult, key: tuple[str, str], moments: Moments | None) -> np.ndarray | None:
    """Samples of each class that a layer has, including those that were not drawn."""
    if moments is None:
        return None
    return result.sizes[key][moments.classes] if key in result.sizes else moments.counts


def _of_network(result: SplitResult) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """The network's own errors."""
    return {
        NETWORK_ERROR.name: {(target, ""): np.asarray(error) for target, error in result.errors.items()},
        CLASS_NETWORK_ERROR.name: {(target, ""): errors for target, errors in result.class_errors.items()},
        NETWORK_MIOU.name: {(target, ""): np.asarray(mean) for target, mean in result.mean_ious.items()},
        NETWORK_MSE.name: {(target, ""): squares.mean() for target, squares in result.squares.items()},
    }


def _compute(
    metrics: Sequence[Metric],
    numbers: dict[str, dict[tuple[str, str], np.ndarray]],
    key: tuple[str, str],
    evidence: Evidence,
    classes: int,
    *,
    itself: bool,
) -> None:
    """Put every metric of one target and layer into the numbers; metrics without a target only once."""
    for metric in metrics:
        knows_target = "target" in metric.variable.dims
        # The features of a regression target count as those of one class, for metrics without a target only.
        if knows_target and "regression" in evidence and "regression" not in metric.needs:
            continue
        of_metric = numbers.setdefault(metric.name, {})
        place = key if knows_target else ("", key[1])
        if place not in of_metric:
            enough = has_enough_samples(metric, evidence, itself=itself)
            of_metric[place] = compute(metric, evidence, classes) if enough else no_value(metric, classes)
