"""Optimisation of small problems to the last digits: L-BFGS from a start, then Newton steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

__all__ = ["Point", "Problem", "Solution", "best", "hessian", "solve", "solve_many"]

Point = dict[str, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """An objective of named arrays, with its gradient.

    Attributes
    ----------
    shapes : mapping of str to tuple of int
        The variables.
    objective : callable
        Returns the loss and its gradient at a point; point and gradient have the names of `shapes`.
    nonnegative : frozenset of str
        Variables whose entries may not be negative.
    """

    shapes: Mapping[str, tuple[int, ...]]
    objective: Callable[[Point], tuple[float, Point]]
    nonnegative: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """Number of scalars in a point."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    def join(self, point: Point) -> np.ndarray:
        """Return a point as one vector ``(size,)``."""
        return np.concatenate([point[name].ravel() for name in self.shapes])

    def part(self, vector: np.ndarray) -> Point:
        """Return the point of a vector ``(size,)``."""
        point, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + int(np.prod(shape))
            point[name] = vector[start:stop].reshape(shape)
            start = stop
        return point

    def draw(self, generator: np.random.Generator, scale: float = 1.0) -> Point:
        """Draw a start, Gaussian with standard deviation `scale`; nonnegative variables are its absolute value."""
        point = {name: scale * generator.standard_normal(shape) for name, shape in self.shapes.items()}
        return {name: np.abs(array) if name in self.nonnegative else array for name, array in point.items()}

    def loss_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Return loss and gradient ``(size,)`` at a vector."""
        loss, gradient = self.objective(self.part(vector))
        return loss, self.join(gradient)


@dataclass(frozen=True, eq=False)
class Solution:
    """The end of an optimisation.

    Attributes
    ----------
    point : dict of str to ndarray
        The variables.
    loss : float
        The loss at this point.
    gradient : float
        Largest absolute entry of the gradient, or of its free part if there are constraints.
    """

    point: Point
    loss: float
    gradient: float


def solve(problem: Problem, start: Point, *, polish: int = 4, cutoff: float = 1e-9) -> Solution:
    """Minimise from a start: L-BFGS to the end of its precision, then at most `polish` Newton steps.

    Losses that do not change with rotations have flat directions. Newton steps therefore leave out eigenvectors of the
    Hessian whose eigenvalues are below `cutoff` times the largest. A step is kept only if the gradient falls and the
    loss does not rise.
    """
    vector = problem.join(start)
    bounded = problem.join(
        {name: np.full(shape, name in problem.nonnegative) for name, shape in problem.shapes.items()}
    )
    bounds = [(0.0 if low else None, None) for low in bounded] if bounded.any() else None
    for _ in range(2):  # The second run starts with an empty memory, in case the line search of the first one failed.
        vector = minimize(
            problem.loss_and_gradient,
            vector,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 20_000, "maxfun": 40_000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-12},
        ).x
    loss, gradient = problem.loss_and_gradient(vector)
    for _ in range(polish):
        free = ~(bounded.astype(bool) & (vector <= 0) & (gradient >= 0))
        size = float(np.abs(gradient[free]).max(initial=0.0))
        if size < 1e-15:
            break
        values, axes = np.linalg.eigh(_hessian(problem, vector, free))
        kept = np.abs(values) > cutoff * np.abs(values).max()
        trial = vector.copy()
        trial[free] -= axes[:, kept] @ ((axes[:, kept].T @ gradient[free]) / values[kept])
        trial = np.where(bounded, trial.clip(min=0), trial)
        trial_loss, trial_gradient = problem.loss_and_gradient(trial)
        if np.abs(trial_gradient[free]).max() >= size or trial_loss > loss + 1e-12 * (1 + abs(loss)):
            break
        vector, loss, gradient = trial, trial_loss, trial_gradient
    free = ~(bounded.astype(bool) & (vector <= 0) & (gradient >= 0))
    return Solution(problem.part(vector), float(loss), float(np.abs(gradient[free]).max(initial=0.0)))


def solve_many(problem: Problem, starts: int, seed: int = 0, scale: float = 1.0) -> list[Solution]:
    """Minimise from random starts; return one solution for each."""
    generator = np.random.default_rng(seed)
    return [solve(problem, problem.draw(generator, scale)) for _ in range(starts)]


def best(solutions: list[Solution]) -> Solution:
    """Return the solution with the least loss."""
    return min(solutions, key=lambda solution: solution.loss)


def hessian(problem: Problem, point: Point) -> np.ndarray:
    """Return the Hessian at a point, shape ``(size, size)``, by central differences of the gradient.

    Its error is about ``1e-10`` of the third derivative: enough for the sign of an eigenvalue, not for its last digits.
    """
    return _hessian(problem, problem.join(point), np.ones(problem.size, dtype=bool))


def _hessian(problem: Problem, vector: np.ndarray, free: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(free)
    columns = np.empty((len(rows), len(rows)))
    for column, index in enumerate(rows):
        step = np.finfo(np.float64).eps ** (1 / 3) * max(1.0, abs(vector[index]))
        shifted = vector.copy()
        shifted[index] = vector[index] + step
        above = problem.loss_and_gradient(shifted)[1]
        shifted[index] = vector[index] - step
        columns[column] = (above - problem.loss_and_gradient(shifted)[1])[rows] / (2 * step)
    return np.asarray((columns + columns.T) / 2)
