"""Features and regression targets that are hard to be exact on, by name, and a hypothesis strategy for small ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """Features ``(n, d)``, targets ``(n, q)``, and the weight ``(q, d)`` of a head that reads the features."""

    features: Array
    targets: Array
    head: Array


def made(
    samples: int = 90,
    width: int = 12,
    dimension: int = 3,
    *,
    rank: int | None = None,
    noise: float = 0.5,
    offset: float = 0.0,
    seed: int = 0,
) -> Case:
    """Features that are a linear map of the targets, and noise; both moved by `offset` standard deviations.

    Parameters
    ----------
    rank : int, optional
        Of the target covariance, the dimension by default.
    noise : float
        Of the features, in units of what they have of the targets.
    """
    generator = np.random.default_rng(seed)
    causes = generator.standard_normal((samples, rank or dimension))
    targets = causes @ generator.standard_normal((rank or dimension, dimension)) * np.geomspace(1, 3, dimension)
    features = targets @ generator.standard_normal((dimension, width)) / dimension
    features = features + noise * features.std() * generator.standard_normal(features.shape)
    features, targets = (rows + offset * rows.std(axis=0) for rows in (features, targets))
    return Case(features, targets, generator.standard_normal((dimension, width)))


def rectified() -> Case:
    """Features as a ReLU gives them: dead ones, and a sample at zero."""
    case = made(seed=5)
    features = case.features.clip(min=0.0)
    features[:, 3] = 0.0
    features[7] = 0.0
    return Case(features, case.targets, case.head)


def outlier_first() -> Case:
    """The first sample lies 1e5 standard deviations away."""
    case = made(seed=6)
    features, targets = case.features.copy(), case.targets.copy()
    features[0] *= 1e5
    targets[0] *= 1e5
    return Case(features, targets, case.head)


def uneven() -> Case:
    """Features and targets of very unequal spread."""
    case = made(seed=7)
    return Case(case.features * np.geomspace(1e-3, 1e3, 12), case.targets * np.array([1e-3, 1.0, 1e3]), case.head)


def scaled(factor: float) -> Case:
    case = made(seed=8)
    return Case(factor * case.features, factor * case.targets, case.head)


CASES: dict[str, Callable[[], Case]] = {
    "random": lambda: made(seed=1),
    "offset": lambda: made(offset=1e4, seed=1),
    "collapsed": lambda: made(noise=3e-5, seed=2),
    "collapsed_offset": lambda: made(noise=3e-5, offset=1e4, seed=2),
    "target_of_lower_rank": lambda: made(dimension=5, rank=2, noise=3e-5, seed=3),
    "more_targets_than_features": lambda: made(width=4, dimension=7, seed=4),
    "as_many_targets_as_features": lambda: made(width=5, dimension=5, seed=4),
    "one_dimension": lambda: made(dimension=1, seed=9),
    "one_feature": lambda: made(width=1, dimension=2, seed=9),
    "fewer_samples_than_features": lambda: made(samples=9, seed=10),
    "rectified": rectified,
    "outlier_first": outlier_first,
    "uneven": uneven,
    "tiny_scale": lambda: scaled(1e-12),
    "huge_scale": lambda: scaled(1e12),
}


@st.composite
def features_and_targets(draw: st.DrawFn) -> Case:
    """A small case of any sizes, offset and noise; values come from a seed."""
    return made(
        draw(st.integers(3, 30)),
        draw(st.integers(1, 6)),
        draw(st.integers(1, 4)),
        noise=draw(st.sampled_from((1e-4, 0.1, 1.0))),
        offset=draw(st.sampled_from((0.0, 1.0, 1e4))),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
