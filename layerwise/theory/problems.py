"""Unconstrained features models and deep linear networks as objectives with analytic gradients.

All of them are one chain: linear maps take features ``H``, shape ``(N, d)``, to logits ``(N, K)``, a fit measures the
distance of the logits from the targets, and every variable has a penalty on its squared norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.special import log_softmax

from layerwise.theory.optimise import Point, Problem

__all__ = [
    "Fit",
    "chain",
    "class_means",
    "cross_entropy",
    "labels_of",
    "network",
    "squared_error",
    "unconstrained_features",
]

Fit = Callable[[np.ndarray], tuple[float, np.ndarray]]


def labels_of(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the labels ``(N,)`` of samples that are sorted by class, `counts` of each."""
    return np.repeat(np.arange(len(counts)), counts)


def class_means(features: np.ndarray, counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the class means ``(K, d)`` of features ``(N, d)`` that are sorted by class."""
    parts = np.split(features, np.cumsum(counts)[:-1])
    return np.stack([part.mean(0) for part in parts])


def cross_entropy(labels: np.ndarray, temperature: float = 1.0, *, shares: np.ndarray | None = None) -> Fit:
    """Return the mean cross entropy of ``temperature * logits``; `shares` ``(N,)`` weight the samples, else equally."""
    rows, weights = np.arange(len(labels)), _weights(len(labels), shares)

    def fit(logits: np.ndarray) -> tuple[float, np.ndarray]:
        logs = log_softmax(temperature * logits, axis=1)
        slope = np.exp(logs)
        slope[rows, labels] -= 1
        return -float(weights @ logs[rows, labels]), slope * (temperature * weights[:, None])

    return fit


def squared_error(targets: np.ndarray, *, shares: np.ndarray | None = None) -> Fit:
    """Return half the mean squared distance from targets ``(N, K)``, ``1/(2N) ||Z - Y||^2``, weighted by `shares`."""
    weights = _weights(len(targets), shares)

    def fit(outputs: np.ndarray) -> tuple[float, np.ndarray]:
        residual = outputs - targets
        return float(weights @ (residual**2).sum(1)) / 2, residual * weights[:, None]

    return fit


def _weights(samples: int, shares: np.ndarray | None) -> np.ndarray:
    return np.full(samples, 1 / samples) if shares is None else shares


def chain(
    fit: Fit,
    shapes: Mapping[str, tuple[int, ...]],
    penalties: Mapping[str, float | np.ndarray],
    *,
    frozen: Mapping[str, np.ndarray] | None = None,
    nonnegative: bool = False,
) -> Problem:
    """Return the problem ``fit(H W_1^T ... W_M^T + b) + sum over variables of penalty/2 ||variable||^2``.

    Parameters
    ----------
    fit : callable
        Returns the loss and its gradient at logits ``(N, K)``.
    shapes : mapping of str to tuple of int
        ``features`` ``(N, d)``; the linear maps, ``(out, in)`` each, from the features up, the last one named
        ``weight``; and ``bias`` ``(K,)``, if there is a bias. Other maps may have any names.
    penalties : mapping of str to float or ndarray
        Penalty of each variable, or of its entries; none for a name that is missing.
    frozen : mapping of str to ndarray, optional
        Variables that are constant.
    nonnegative : bool
        Whether the features may not be negative, as after a ReLU.
    """
    constants = dict(frozen or {})
    maps = [name for name in shapes if name not in ("features", "bias")]
    variables = {name: shape for name, shape in shapes.items() if name not in constants}

    def objective(point: Point) -> tuple[float, Point]:
        values = {**constants, **point}
        inputs = [values["features"]]
        for name in maps:
            inputs.append(inputs[-1] @ values[name].T)
        loss, slope = fit(inputs[-1] + values["bias"] if "bias" in values else inputs[-1])
        gradient: Point = {}
        if "bias" in variables:
            gradient["bias"] = slope.sum(0)
        for name, taken in zip(reversed(maps), reversed(inputs[:-1]), strict=True):
            if name in variables:
                gradient[name] = slope.T @ taken
            slope = slope @ values[name]
        if "features" in variables:
            gradient["features"] = slope
        for name in variables:
            penalty = penalties.get(name, 0.0)
            if np.any(penalty):
                loss += float((penalty * values[name] ** 2).sum()) / 2
                gradient[name] = gradient[name] + penalty * values[name]
        return loss, gradient

    return Problem(variables, objective, frozenset({"features"}) if nonnegative else frozenset())


def unconstrained_features(
    counts: Sequence[int] | np.ndarray,
    dimension: int,
    weight_decay: float,
    feature_decay: float,
    *,
    bias_decay: float | None = None,
    loss: str = "cross_entropy",
    nonnegative: bool = False,
) -> Problem:
    """Return the unconstrained features model: mean loss ``+ lW/2 ||W||^2 + lH/2 ||H||^2 + lb/2 ||b||^2``.

    Parameters
    ----------
    counts : sequence of int
        Samples of each class; the rows of the features are sorted by class.
    dimension : int
        Width d of the features.
    weight_decay, feature_decay : float
        ``lW`` and ``lH``.
    bias_decay : float, optional
        ``lb``; without it there is no bias, and with 0 the bias has no penalty.
    loss : {"cross_entropy", "squared_error"}
        Squared error is half the squared distance from the one-hot labels.
    nonnegative : bool
        Whether the features may not be negative.
    """
    labels, classes = labels_of(counts), len(counts)
    fit = cross_entropy(labels) if loss == "cross_entropy" else squared_error(np.eye(classes)[labels])
    shapes: dict[str, tuple[int, ...]] = {"features": (len(labels), dimension), "weight": (classes, dimension)}
    penalties: dict[str, float | np.ndarray] = {"features": feature_decay, "weight": weight_decay}
    if bias_decay is not None:
        shapes["bias"], penalties["bias"] = (classes,), bias_decay
    return chain(fit, shapes, penalties, nonnegative=nonnegative)


def network(
    targets: np.ndarray,
    widths: Sequence[int],
    weight_decays: Sequence[float],
    feature_decay: float = 0.0,
    *,
    features: np.ndarray | None = None,
    bias: bool = False,
) -> Problem:
    """Return a deep linear network, ``1/(2N) ||H W_1^T ... W_M^T + b - Y||^2 + sum lW_l/2 ||W_l||^2 + lH/2 ||H||^2``.

    Parameters
    ----------
    targets : ndarray
        ``Y``, shape ``(N, K)``.
    widths : sequence of int
        Input width of each of the M maps, from the features up.
    weight_decays : sequence of float
        ``lW_l`` of each map.
    feature_decay : float
        ``lH``.
    features : ndarray, optional
        Constant features ``(N, d)``; by default the features are variables.
    bias : bool
        Whether there is an unpenalised bias.
    """
    samples, outputs = targets.shape
    sizes = [*widths, outputs]
    names = [*(f"hidden_{place}" for place in range(1, len(widths))), "weight"]
    shapes: dict[str, tuple[int, ...]] = {"features": (samples, widths[0])}
    shapes |= {name: (sizes[place + 1], sizes[place]) for place, name in enumerate(names)}
    penalties = {"features": feature_decay, **dict(zip(names, weight_decays, strict=True))}
    if bias:
        shapes["bias"] = (outputs,)
    frozen = None if features is None else {"features": features}
    return chain(squared_error(targets), shapes, penalties, frozen=frozen)
