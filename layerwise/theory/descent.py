"""Gradient descent with rows on spheres (Riemannian) or in balls (projected)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layerwise.theory.optimise import Point, Problem, Solution

__all__ = ["descend", "project"]


def project(point: Point, spheres: Mapping[str, float], balls: Mapping[str, float]) -> Point:
    """Project the rows of some variables on spheres, or into balls, of the given radii."""
    projected = dict(point)
    for name, radius in spheres.items():
        projected[name] = point[name] * (radius / np.linalg.norm(point[name], axis=1, keepdims=True))
    for name, radius in balls.items():
        norms = np.linalg.norm(point[name], axis=1, keepdims=True)
        projected[name] = point[name] * (radius / norms.clip(min=radius))
    return projected


def descend(
    problem: Problem,
    start: Point,
    *,
    spheres: Mapping[str, float] | None = None,
    balls: Mapping[str, float] | None = None,
    tolerance: float = 1e-11,
    steps: int = 20_000,
) -> Solution:
    """Minimise from a start by gradient descent with the rows of some variables on spheres or in balls.

    Each step follows the free part of the gradient (on a sphere, the Riemannian gradient), with the step length of
    Barzilai and Borwein, halved until the loss is below the largest of the last ten. The result is projected. Descent
    ends if no entry of the free part is larger than `tolerance`, or if no step lowers the loss by more than rounding.
    """
    spheres, balls = spheres or {}, balls or {}
    vector = problem.join(project(start, spheres, balls))
    loss, gradient = problem.loss_and_gradient(vector)
    free = _free(problem, vector, gradient, spheres, balls)
    recent, length = [loss], 1.0
    for _ in range(steps):
        if np.abs(free).max() <= tolerance:
            break
        while length > 1e-14:
            trial = problem.join(project(problem.part(vector - length * free), spheres, balls))
            trial_loss, trial_gradient = problem.loss_and_gradient(trial)
            if trial_loss <= max(recent) - 1e-4 * length * float(free @ free):
                break
            length /= 2
        else:
            break
        trial_free = _free(problem, trial, trial_gradient, spheres, balls)
        moved, turned = trial - vector, trial_free - free
        curvature = abs(float(moved @ turned))
        length = min(float(moved @ moved) / curvature, 1e6) if curvature > 0 else 1.0
        vector, loss, free = trial, trial_loss, trial_free
        recent = [*recent[-9:], loss]
    return Solution(problem.part(vector), float(loss), float(np.abs(free).max()))


def _free(
    problem: Problem, vector: np.ndarray, gradient: np.ndarray, spheres: Mapping[str, float], balls: Mapping[str, float]
) -> np.ndarray:
    """Return the gradient without the components that move rows off their sphere, or out of their ball."""
    point, slopes = problem.part(vector), problem.part(gradient.copy())
    for name, radius in {**spheres, **balls}.items():
        rows, slope = point[name], slopes[name]
        outward = (rows * slope).sum(1, keepdims=True) / radius**2
        if name in balls:
            at_edge = np.linalg.norm(rows, axis=1, keepdims=True) >= radius * (1 - 1e-12)
            outward = np.where(at_edge & (outward < 0), outward, 0.0)
        slopes[name] = slope - outward * rows
    return problem.join(slopes)
