"""Squared error from given features: the final frame, and the flow of the features towards it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from layerwise.arguments import checked
from layerwise.theory.minimiser import Minimiser
from layerwise.theory.optimise import Point, Problem
from layerwise.theory.problems import class_means, labels_of
from layerwise.theory.ranges import positive, require
from layerwise.theory.squared_error import squared_error_minimiser

__all__ = ["FeatureFlow", "feature_flow", "optimal_classifier", "perturbed", "perturbed_minimiser"]


@checked()
def perturbed_minimiser(classes: int, samples: int, weight_decay: float, feature_decay: float) -> Minimiser:
    """Global minimiser of the model of Tirer et al. without attachment of the features to given ones.

    For ``1/(2Kn) ||W H - Y||^2 + lW/(2K) ||W||^2 + lH/(2Kn) ||H||^2`` with n samples in each of K classes and
    ``c = sqrt(lW lH)``: an orthogonal frame with ``W M = (1 - c) I``, class means of squared norm
    ``(1 - c) sqrt(lW/lH)`` and classifier rows of squared norm ``(1 - c) sqrt(lH/lW)`` if ``c < 1``, all zero
    otherwise; loss ``c - c^2/2``, or 1/2. It is `squared_error_minimiser` without a bias, with the decays divided by K
    and K n.

    Assumes balanced classes, ``lW, lH > 0`` and ``d >= K``.

    References
    ----------
    Tirer, Huang & Niles-Weed 2022, Perturbation analysis of neural collapse.

    Examples
    --------
    >>> perturbed_minimiser(3, 2, 0.25, 0.25).mean_gram.diagonal().round(6)
    array([0.75, 0.75, 0.75])
    """
    theorem = "the minimiser of the perturbation model (Tirer 2022)"
    positive(theorem, classes=classes - 1, samples=samples, weight_decay=weight_decay, feature_decay=feature_decay)
    return squared_error_minimiser(classes, samples, weight_decay / classes, feature_decay / (classes * samples))


def perturbed(
    given: np.ndarray, classes: int, weight_decay: float, feature_decay: float, attachment: float = 0.0
) -> Problem:
    """Return the model as a problem, ``... + beta/(2Kn) ||H - H0||^2`` with given features ``H0``.

    Parameters
    ----------
    given : ndarray
        ``H0``, shape ``(N, d)``, sorted by class, with equally many samples of each.
    classes : int
        K.
    weight_decay, feature_decay, attachment : float
        ``lW``, ``lH`` and ``beta``.
    """
    samples, width = given.shape
    require(samples % classes == 0, "the perturbation model (Tirer 2022)", "equally many samples in every class")
    targets = np.eye(classes)[labels_of([samples // classes] * classes)]

    def objective(point: Point) -> tuple[float, Point]:
        features, weight = point["features"], point["weight"]
        residual, moved = features @ weight.T - targets, features - given
        loss = float((residual**2).sum() + feature_decay * (features**2).sum() + attachment * (moved**2).sum())
        loss = loss / (2 * samples) + weight_decay / (2 * classes) * float((weight**2).sum())
        return loss, {
            "features": (residual @ weight + feature_decay * features + attachment * moved) / samples,
            "weight": residual.T @ features / samples + weight_decay / classes * weight,
        }

    return Problem({"features": (samples, width), "weight": (classes, width)}, objective)


def optimal_classifier(features: np.ndarray, classes: int, weight_decay: float) -> np.ndarray:
    """Return the best classifier ``(K, d)`` for features ``(N, d)``, ``Y H^T (H H^T + n lW I)^(-1)``."""
    samples, width = features.shape
    each = samples // classes
    targets = np.eye(classes)[labels_of([each] * classes)]
    return np.linalg.solve(features.T @ features + each * weight_decay * np.eye(width), features.T @ targets).T


@dataclass(frozen=True, eq=False)
class FeatureFlow:
    """The path of features under the flow, at given times.

    Attributes
    ----------
    times : ndarray
        Shape ``(T,)``.
    features : ndarray
        Shape ``(T, N, d)``.
    within, between : ndarray
        Shape ``(T,)``: ``tr S_W`` and ``tr S_B``.
    """

    times: np.ndarray
    features: np.ndarray
    within: np.ndarray
    between: np.ndarray


@checked()
def feature_flow(
    given: np.ndarray, classes: int, weight_decay: float, feature_decay: float, times: Sequence[float] | np.ndarray
) -> FeatureFlow:
    """Return the flow of the features with an optimal classifier, ``dH/dt = -K n (gradient of the loss in H)``.

    With ``beta = 0`` and ``W = optimal_classifier(H)`` it is ``dH/dt = -W^T (W H - Y) - lH H``. Along the flow, while
    there is within-class variance::

        e^(2 lH t) tr S_W  falls,  e^(2 lH t) tr S_B  rises,  and so  tr S_W / tr S_B  falls,

    with ``S_B`` about the global mean or about zero. (With the plain gradient, time runs K n times slower, and the
    exponent is ``2 lH t/(K n)``.) The reason is that deviations from the class means follow
    ``dE/dt = -(W^T W + lH) E``, and that ``W M``, for the class means, is symmetric with eigenvalues between 0 and 1.

    Assumes balanced classes and ``lW, lH > 0``; the initial features may be any that are not all zero.

    Parameters
    ----------
    given : ndarray
        Initial features, shape ``(N, d)``, sorted by class.
    classes : int
        K.
    weight_decay, feature_decay : float
        ``lW`` and ``lH``.
    times : sequence of float
        Times of the result, increasing, with the start at 0.

    References
    ----------
    Tirer, Huang & Niles-Weed 2022, Perturbation analysis of neural collapse.
    """
    theorem = "the flow of features (Tirer 2022)"
    positive(theorem, weight_decay=weight_decay, feature_decay=feature_decay)
    problem = perturbed(given, classes, weight_decay, feature_decay)
    at = np.asarray(times, dtype=np.float64)
    require(len(at) > 0 and at[0] >= 0 and bool((np.diff(at) > 0).all()), theorem, "increasing times from 0 on")

    def velocity(_: float, vector: np.ndarray) -> np.ndarray:
        features = vector.reshape(given.shape)
        weight = optimal_classifier(features, classes, weight_decay)
        slope = problem.objective({"features": features, "weight": weight})[1]["features"]
        return -len(given) * slope.ravel()

    path = solve_ivp(velocity, (0.0, at[-1]), given.ravel(), method="DOP853", t_eval=at, rtol=1e-11, atol=1e-14)
    features = path.y.T.reshape(-1, *given.shape)
    counts = [len(given) // classes] * classes
    means = np.stack([class_means(step, counts) for step in features])
    centred = means - means.mean(1, keepdims=True)
    return FeatureFlow(
        times=at,
        features=features,
        within=((features - np.repeat(means, counts, axis=1)) ** 2).sum((1, 2)) / len(given),
        between=(centred**2).sum((1, 2)) / classes,
    )
