"""From finished statistics to numbers: every metric of every target and layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from layerwise.passes import SplitResult
from layerwise.runtime.module_paths import clean_name
from layerwise.settings import Settings
from layerwise.statistics import Moments

__all__ = ["Evaluation"]


@dataclass(frozen=True)
class Evaluation:
    """What metrics are computed of beside the statistics: conventions, and the network's own maps.

    Attributes
    ----------
    model : Module
    readings : sequence of Reading
        The layers, in execution order.
    settings : Settings
    convention : Convention
    dimensions : mapping of str to int
        Dimension of every regression target.
    next_maps : mapping of str to tuple of str
        Paths of the linear maps that read each layer (`layerwise.network.graph.linear_maps`).
    previous_maps : mapping of str to str
        Path of the linear map that gives each layer.
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

    def all_numbers(
        self, result: SplitResult, metrics: Sequence[Metric], next_maps: dict[str, str]
    ) -> dict[str, dict[tuple[str, str], np.ndarray]]:
        """Metrics of a split, by target and layer, with errors, biases and what chance gives where they were asked for.

        The evidence is used up.

        Parameters
        ----------
        result : SplitResult
        metrics : sequence of Metric
        next_maps : dict of str to str
            Takes the names of the maps that read each layer; where it has them, what no split changes was measured.
        """
        sampled, compared = with_error(metrics), with_chance(metrics)
        parts = [
            (result, [metric for metric in metrics if not next_maps or "split" in metric.variable.dims]),
            *((part, sampled) for part in result.without),
            *((part, compared) for part in result.shuffled),
        ]
        numbers = [_of_network(part) for part, _ in parts]
        # Of what is measured many times, no more than one layer's is laid out at a time, beside weights read once.
        for reading in self.readings:
            beside = self._weights(reading)
            next_maps[reading.name] = "" if beside is None else ", ".join(map(clean_name, self.next_maps[reading.name]))
            for (part, own), found in zip(parts, numbers, strict=True):
                self._measure_layer(part, own, reading, beside, found)
        whole, without = numbers[0], numbers[1 : 1 + len(result.without)]
        if without:
            errors = [*(own.name for own in OF_NETWORK), *(metric.name for metric in sampled)]
            whole |= jackknife(errors, [metric.name for metric in with_bias(metrics)], whole, without)
        if result.shuffled:
            whole |= under_chance(compared, numbers[1 + len(result.without) :])
        return whole

    def empty_fits(self, result: SplitResult, metrics: Sequence[Metric]) -> dict[str, list[str]]:
        """Layers of no more samples than features, by the fits that are NaN there."""
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
        beside: Weights | None,
        numbers: dict[str, dict[tuple[str, str], np.ndarray]],
    ) -> None:
        """Metrics of one layer, of what one measurement of a split gave, into the numbers."""
        read_by = None if beside is None else beside.reading
        for target, classes in result.classes.items():
            key = (target, reading.name)
            own = target in result.errors and self._feeds(target, reading)
            head = self._head(target, reading, beside) if own else None
            if "covariance" in result.evidence.get(key, {}):
                result.evidence[key]["covariance"] = result.covariance(key)
            evidence = dict(result.evidence.pop(key, {}), convention=self.convention, next_map=read_by)
            fits = head is not None and len(head) == result.scores[target]
            evidence["sizes"] = _sizes(result, key, evidence.get("moments"))
            evidence["classifier"] = head[result.rows[target]] if head is not None and fits else None
            evidence |= {"weights": beside, "frame": frame_of(self.settings, target, classes)}
            known = [metric for metric in metrics if key not in result.missing_classes or metric.least_classes < 2]
            _compute(known, numbers, key, evidence, classes, itself=result.judged_by_itself)
        for target in self.dimensions:
            evidence = self._of_regression(result, target, reading, beside)
            _compute(metrics, numbers, (target, reading.name), evidence, 0, itself=result.judged_by_itself)

    def _of_regression(
        self, result: SplitResult, target: str, reading: LayerReading, beside: Weights | None
    ) -> dict[str, Any]:
        """What metrics of a regression target can ask for."""
        evidence = dict(result.evidence.pop((target, reading.name), {"regression": None}), convention=self.convention)
        if evidence["regression"] is not None:
            evidence["moments"] = evidence["covariance"] = evidence["regression"].as_one_class
        weight = self._head(target, reading, beside)
        named = any(of == target for of, _ in self.heads)
        own = (named or target in result.squares) and self._feeds(target, reading)
        fits = weight is not None and len(weight) == self.dimensions[target]
        return evidence | {"next_map": weight, "weights": beside, "head": weight if own and fits else None}

    def _feeds(self, target: str, reading: LayerReading) -> bool:
        """Whether a layer's features are what the head of a target reads."""
        if any(of == target for of, _ in self.heads):
            return (self.heads.get((target, reading.name), ""), reading.name) in self.fed
        # A head that is no linear map is not the map that reads the layer first.
        if (self.settings.heads or {}).get(target):
            return False
        return any((of, reading.name) in self.fed for of in self.next_maps.get(reading.name, ()))

    def _head(self, target: str, reading: LayerReading, beside: Weights | None) -> np.ndarray | None:
        """Weight of the network's own head of a target, where a layer feeds one called so; else of what reads it."""
        path = self.heads.get((target, reading.name))
        maps = beside if path is None else self._weights(reading, (path,))
        return None if maps is None else maps.reading

    def _weights(self, reading: LayerReading, paths: Sequence[str] = ()) -> Weights | None:
        """The maps beside a layer as they are now; None where its features are a random projection."""
        paths = paths or self.next_maps.get(reading.name, ())
        if not paths or reading.projection is not None:
            return None
        return weights_beside(self.model, paths, self.previous_maps.get(reading.name), reading.features)


def _sizes(result: SplitResult, key: tuple[str, str], moments: Moments | None) -> np.ndarray | None:
    """Samples of each class that a layer has, those too that were not drawn."""
    if moments is None:
        return None
    return result.sizes[key][moments.classes] if key in result.sizes else moments.counts


def _of_network(result: SplitResult) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """What the network itself gets wrong."""
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
    evidence: Mapping[str, Any],
    classes: int,
    *,
    itself: bool,
) -> None:
    """Every metric of one target and layer, into the numbers; what knows no target only once."""
    for metric in metrics:
        knows_target = "target" in metric.variable.dims
        # The features of a regression target come as those of one class, for what knows no target alone.
        if knows_target and "regression" in evidence and "regression" not in metric.needs:
            continue
        of_metric = numbers.setdefault(metric.name, {})
        place = key if knows_target else ("", key[1])
        if place not in of_metric:
            enough = has_enough_samples(metric, evidence, itself=itself)
            of_metric[place] = compute(metric, evidence, classes) if enough else no_value(metric, classes)
