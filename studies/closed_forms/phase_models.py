"""Models of the theory with a phase transition: what stands for order in them, predicted and found by descent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from layerwise.theory import (
    deep_linear_minimiser,
    minority_collapse,
    nonnegative_minimiser,
    regression_minimiser,
    squared_error_minimiser,
)
from layerwise.theory.optimise import Point, Problem, Solution, best, solve
from layerwise.theory.problems import chain, class_means, labels_of, network, squared_error, unconstrained_features

__all__ = ["MODELS", "PhaseModel"]


@dataclass(frozen=True)
class PhaseModel:
    """A model over two parameters, with an order parameter that is zero on one side of a boundary.

    Attributes
    ----------
    title, across_label, up_label, order_label : str
        What the diagram says.
    across : tuple of float
        The values of the first parameter.
    highest : float
        The second parameter goes from 0 to this; so does its axis.
    boundary : callable
        Second parameter of the transition, from the first.
    problem : callable
        From both parameters to what is minimised.
    predicted : callable
        From both parameters to the order parameter, and to the least loss where there is a closed form of it.
    order : callable
        From the first parameter and a solution to the order parameter.
    valleys : bool
        Whether there are valleys that are not the deepest, so that several descents are needed.
    """

    title: str
    across_label: str
    up_label: str
    order_label: str
    across: tuple[float, ...]
    highest: float
    boundary: Callable[[float], float]
    problem: Callable[[float, float], Problem]
    predicted: Callable[[float, float], tuple[float, float]]
    order: Callable[[float, Point], float]
    valleys: bool = False

    def solve(self, across: float, up: float, seed: int) -> Solution:
        """The best of the descents from random starts.

        Where there are valleys, those in which all live are among the starts, come to from weaker regularisation, and
        those in which the small ones have died, come to from beyond the boundary.
        """
        problem, generator = self.problem(across, up), np.random.default_rng(seed)
        starts = [problem.draw(generator)]
        if self.valleys:
            weaker = [self.problem(across, share * up) for share in (0.1, 0.4)]
            beyond = self.problem(across, self.boundary(across) ** 0.5)
            alive = _follow(weaker, problem.draw(generator))
            starts += [alive, _follow([beyond], alive)]
        return best([solve(problem, start, polish=0) for start in starts])


def _follow(problems: Sequence[Problem], start: Point) -> Point:
    for problem in problems:
        start = solve(problem, start, polish=0).point
    return start


# Two large classes of `ratio` samples and two of one: what happens to the small ones. Strengths are in units of that
# at which the large ones go.
def _counts(ratio: float) -> list[int]:
    return [round(ratio)] * 2 + [1, 1]


def _decays(ratio: float, strength: float) -> list[float]:
    """Decays ``lW = lH`` with ``N sqrt(lW lH) = strength sqrt(n)``, n the size of the large classes."""
    return [strength * np.sqrt(ratio) / sum(_counts(ratio))] * 2


def _logits(point: Point) -> np.ndarray:
    found = point["features"]
    for name in sorted(name for name in point if name.startswith("hidden")):
        found = found @ point[name].T
    return found @ point["weight"].T


_CLASSES, _SAMPLES = 4, 2


def _squared_error(strength: float, penalty: float) -> Problem:
    decay = strength / (_CLASSES * np.sqrt(_SAMPLES))
    counts = [_SAMPLES] * _CLASSES
    return unconstrained_features(counts, _CLASSES + 1, decay, decay, bias_decay=penalty, loss="squared_error")


def _predict_squared_error(strength: float, penalty: float) -> tuple[float, float]:
    decay = strength / (_CLASSES * np.sqrt(_SAMPLES))
    found = squared_error_minimiser(_CLASSES, _SAMPLES, decay, decay, penalty)
    return found.common, found.loss


def _common(_: float, point: Point) -> float:
    return float(class_means(_logits(point), [_SAMPLES] * _CLASSES).sum()) / _CLASSES


def _deep_decay(ratio: float, strength: float) -> float:
    """The one decay of a network of two maps: large classes go at b/n = 1/2, where N l = (n/4)^(2/3)."""
    return float(strength * (ratio / 4) ** (2 / 3) / sum(_counts(ratio)))


def _deep_linear(ratio: float, strength: float) -> Problem:
    decay = _deep_decay(ratio, strength)
    return network(np.eye(4)[labels_of(_counts(ratio))], [5, 5], [decay] * 2, decay)


def _predict_deep_linear(ratio: float, strength: float) -> tuple[float, float]:
    decay = _deep_decay(ratio, strength)
    found = deep_linear_minimiser(_counts(ratio), [decay] * 2, decay)
    return float(found.logits[-1, -1]), found.loss


def _last_logit(_: float, point: Point) -> float:
    return float(_logits(point)[-1, -1])


def _nonnegative(ratio: float, strength: float) -> Problem:
    return unconstrained_features(_counts(ratio), 16, *_decays(ratio, strength), nonnegative=True)


def _predict_nonnegative(ratio: float, strength: float) -> tuple[float, float]:
    found = nonnegative_minimiser(_counts(ratio), *_decays(ratio, strength))
    return float(found.margins[-1]), found.loss


def _margin(_: float, point: Point) -> float:
    logits = _logits(point)[-1]
    return float(logits[-1] - logits[:-1].mean())


def _cross_entropy(ratio: float, strength: float) -> Problem:
    return unconstrained_features(_counts(ratio), 5, *_decays(ratio, strength))


def _predict_merging(ratio: float, strength: float) -> tuple[float, float]:
    # The theorem tells who merges and by how much others do not, not the least loss.
    return float(minority_collapse(_counts(ratio), *_decays(ratio, strength)).gap[-1]), np.nan


def _gap(_: float, point: Point) -> float:
    chances = softmax(_logits(point)[-1])
    return float(chances[-1] - chances[-2])


def _targets(smaller: float) -> np.ndarray:
    # Covariance exactly diag(1, smaller).
    corners = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    return np.concatenate([corners, corners]) * np.sqrt([1.0, smaller])


def _regression(smaller: float, product: float) -> Problem:
    targets, decay = _targets(smaller), np.sqrt(product)
    shapes: dict[str, tuple[int, ...]] = {"features": (len(targets), 3), "weight": (2, 3), "bias": (2,)}
    return chain(squared_error(targets), shapes, {"features": decay / len(targets), "weight": decay})


def _predict_regression(smaller: float, product: float) -> tuple[float, float]:
    targets = _targets(smaller)
    found = regression_minimiser(targets, np.sqrt(product), np.sqrt(product))
    return float((found.outputs[:, 1] @ targets[:, 1]) / (targets[:, 1] @ targets[:, 1])), found.loss


def _learnt(smaller: float, point: Point) -> float:
    wanted, outputs = _targets(smaller)[:, 1], _logits(point)[:, 1]
    return float(outputs @ wanted / (wanted @ wanted))


_RATIOS = tuple(float(ratio) for ratio in range(2, 14))
_STRENGTH = "regularisation,\n1: large classes go"
_RATIO = "large class / small class"

#: By name: theorems 2, 6, 7, 8 and 11 of the theory.
MODELS: dict[str, PhaseModel] = {
    "squared_error": PhaseModel(
        "Squared error: simplex ETF to orthogonal frame",
        *(r"regularisation $K\sqrt{n\lambda_W\lambda_H}$", r"bias penalty $\lambda_b$", "common direction c"),
        across=tuple(np.linspace(0.06, 0.72, 12).tolist()),
        highest=3.0,
        boundary=lambda strength: strength / (1 - strength),
        problem=_squared_error,
        predicted=_predict_squared_error,
        order=_common,
    ),
    "deep_linear": PhaseModel(
        "Deep linear network: small classes die",
        *(_RATIO, _STRENGTH, "own logit of a small class"),
        across=_RATIOS,
        highest=0.8,
        boundary=lambda ratio: ratio ** (-2 / 3),
        problem=_deep_linear,
        predicted=_predict_deep_linear,
        order=_last_logit,
        valleys=True,
    ),
    "nonnegative": PhaseModel(
        "Cross entropy behind a ReLU: small classes die",
        *(_RATIO, _STRENGTH, "margin of a small class"),
        across=_RATIOS,
        highest=0.8,
        boundary=lambda ratio: float(np.sqrt(3 / (4 * ratio))),
        problem=_nonnegative,
        predicted=_predict_nonnegative,
        order=_margin,
        valleys=True,
    ),
    "merging": PhaseModel(
        "Cross entropy: small classes merge",
        *(_RATIO, _STRENGTH, "probability gap to its twin"),
        across=_RATIOS,
        highest=0.8,
        boundary=lambda ratio: ratio**-0.5,
        problem=_cross_entropy,
        predicted=_predict_merging,
        order=_gap,
    ),
    "regression": PhaseModel(
        "Regression: a direction is dropped",
        *("variance of the smaller direction", r"product $\lambda_W\lambda_H$", "share of it that is learnt"),
        across=tuple(np.linspace(0.08, 0.96, 12).tolist()),
        highest=1.2,
        boundary=lambda smaller: smaller,
        problem=_regression,
        predicted=_predict_regression,
        order=_learnt,
    ),
}
