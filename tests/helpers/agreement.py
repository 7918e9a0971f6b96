"""How the tests of theory compare a predicted minimiser with a found one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerwise.theory import Minimiser
from layerwise.theory.optimise import Point, Solution
from layerwise.theory.problems import class_means

# What the theorems promise is met to this relative error; where both are zero, to the absolute one.
RELATIVE, ABSOLUTE = 1e-6, 1e-9


def outputs(point: Point) -> np.ndarray:
    """Outputs of a chain without its bias, ``(N, K)``."""
    found = point["features"]
    for name in sorted(name for name in point if name.startswith("hidden")):
        found = found @ point[name].T
    return found @ point["weight"].T


def difference(found: np.ndarray, predicted: np.ndarray) -> float:
    """Norm of the difference, in units of what is allowed."""
    allowed = RELATIVE * np.linalg.norm(predicted) + ABSOLUTE
    return float(np.linalg.norm(np.asarray(found) - predicted) / allowed)


def assert_meets(solution: Solution, predicted: Minimiser, counts: Sequence[int]) -> None:
    """The solution is the predicted minimiser: loss, outputs, Gram matrices, bias, and no variation in a class."""
    point = solution.point
    classifier, features = point["weight"], point["features"]
    means = class_means(features, counts)
    assert abs(solution.loss - predicted.loss) <= RELATIVE * predicted.loss
    assert difference(features, np.repeat(means, counts, axis=0)) <= 1
    assert difference(outputs(point), np.repeat(predicted.logits, counts, axis=0)) <= 1
    assert difference(classifier @ classifier.T, predicted.weight_gram) <= 1
    assert difference(means @ means.T, predicted.mean_gram) <= 1
    assert difference(point.get("bias", np.zeros(len(counts))), predicted.bias) <= 1


def slope_error(problem, point: Point) -> float:
    """Largest difference of the gradient from central differences of the loss, relative to its largest entry."""
    vector = problem.join(point)
    gradient = problem.loss_and_gradient(vector)[1]
    by_hand = np.empty_like(gradient)
    for index in range(len(vector)):
        step = np.zeros_like(vector)
        step[index] = 1e-5
        above, below = problem.loss_and_gradient(vector + step)[0], problem.loss_and_gradient(vector - step)[0]
        by_hand[index] = (above - below) / 2e-5
    return float(np.abs(gradient - by_hand).max() / np.abs(gradient).max())
