"""Features and labels that are hard to be exact on, by name, and a hypothesis strategy for small ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from scipy.linalg import hadamard

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Case:
    """Features ``(n, d)``, their labels ``(n,)``, and the number of classes that were declared."""

    features: Array
    labels: Labels
    classes: int


def clusters(
    counts: Sequence[int],
    dims: int,
    *,
    noise: float = 1.0,
    distance: float = 2.0,
    offset: float = 0.0,
    seed: int = 0,
) -> Case:
    """Gaussian clusters in random order, every feature moved by `offset` times its standard deviation."""
    generator = np.random.default_rng(seed)
    means = distance * generator.standard_normal((len(counts), dims))
    labels = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    features = means[labels] + noise * generator.standard_normal((len(labels), dims))
    return Case(features + offset * features.std(axis=0), labels, len(counts))


def scaled(factor: float) -> Case:
    case = clusters([20] * 5, 12, seed=11)
    return Case(factor * case.features, case.labels, case.classes)


def rank_deficient() -> Case:
    """Class means of rank 3 among 8 classes, to the last bit.

    Means are integers, and residuals are multiples of 2^-10 in pairs of opposite sign: every mean is exact in
    float32 and float64, so that no rounding adds a direction.
    """
    generator = np.random.default_rng(3)
    means = generator.integers(-4, 5, (8, 3)) @ generator.integers(-3, 4, (3, 16))
    halves = generator.integers(-(2**10), 2**10 + 1, (8, 10, 16)) / 2**10
    features = (means[:, None, :] + np.concatenate([halves, -halves], axis=1)).reshape(-1, 16)
    order = generator.permutation(len(features))
    return Case(features[order], np.repeat(np.arange(8), 20)[order], 8)


def simplex(classes: int, dims: int, *, per_class: int = 6) -> Case:
    """A simplex ETF of plus and minus ones (`classes` a power of two): exact in any dtype, no variability."""
    vertices = np.zeros((classes, dims))
    vertices[:, : classes - 1] = hadamard(classes)[:, 1:]
    labels = np.random.default_rng(classes).permutation(np.repeat(np.arange(classes), per_class))
    return Case(vertices[labels], labels, classes)


def simplex_rotated() -> Case:
    """Seven classes on a simplex ETF in general position, rounded to float64."""
    generator = np.random.default_rng(5)
    rotation = np.linalg.qr(generator.standard_normal((10, 10)))[0]
    labels = generator.permutation(np.repeat(np.arange(7), 6))
    return Case(((np.eye(7) - 1 / 7) @ rotation[:7])[labels], labels, 7)


def absent_class() -> Case:
    case = clusters([15, 15, 15, 15], 10, seed=8)
    return Case(case.features, np.array([0, 1, 3, 4])[case.labels], 5)


def far_clusters_sorted() -> Case:
    """Each class made of two far clusters, one after the other: its first batch lies far from its mean."""
    generator = np.random.default_rng(9)
    centres = 2.0 * generator.standard_normal((4, 2, 10)) + np.array([-1e4, 1e4])[None, :, None]
    features = np.repeat(centres.reshape(8, 10), 16, axis=0)
    return Case(features + generator.standard_normal(features.shape), np.repeat(np.arange(4), 32), 4)


def outlier_first() -> Case:
    """Sorted by label, and the first sample of every class lies 1e5 standard deviations away."""
    generator = np.random.default_rng(10)
    labels = np.repeat(np.arange(4), 40)
    features = 2.0 * generator.standard_normal((4, 10))[labels] + generator.standard_normal((160, 10))
    features[::40] += 1e5 * generator.standard_normal((4, 10))
    return Case(features, labels, 4)


CASES: dict[str, Callable[[], Case]] = {
    "random": lambda: clusters([20] * 5, 12, seed=1),
    "offset": lambda: clusters([20] * 5, 12, offset=1e4, seed=1),
    "collapsed": lambda: clusters([20] * 5, 12, noise=3e-5, seed=2),
    "collapsed_offset": lambda: clusters([20] * 5, 12, noise=3e-5, offset=1e4, seed=2),
    "rank_deficient": rank_deficient,
    "more_classes_than_dims": lambda: clusters([8] * 14, 5, seed=4),
    "unequal_classes": lambda: clusters([50, 20, 10, 5, 3], 12, seed=6),
    "one_sample_class": lambda: clusters([20, 20, 20, 1], 10, seed=7),
    "absent_class": absent_class,
    "simplex": lambda: simplex(8, 12),
    "simplex_two_classes": lambda: simplex(2, 6),
    "simplex_rotated": simplex_rotated,
    "far_clusters_sorted": far_clusters_sorted,
    "outlier_first": outlier_first,
    "tiny_scale": lambda: scaled(1e-12),
    "huge_scale": lambda: scaled(1e12),
}


@st.composite
def labelled_features(
    draw: st.DrawFn,
    max_classes: int = 5,
    max_dims: int = 6,
    max_per_class: int = 7,
    *,
    balanced: bool = False,
    offsets: Sequence[float] = (0.0, 1.0, 1e4),
    noises: Sequence[float] = (1e-5, 0.1, 1.0),
    scales: Sequence[float] = (1e-12, 1.0, 1e12),
) -> Case:
    """A small case: any order of labels, any counts (two classes at least are present), any offset and scale.

    Values come from a seed, so that class means never coincide by construction.
    """
    classes = draw(st.integers(2, max_classes))
    if balanced:
        counts = [draw(st.integers(1, max_per_class))] * classes
    else:
        sizes = st.lists(st.integers(0, max_per_class), min_size=classes, max_size=classes)
        counts = draw(sizes.filter(lambda found: sum(count > 0 for count in found) >= 2))
    case = clusters(
        counts,
        draw(st.integers(1, max_dims)),
        noise=draw(st.sampled_from(noises)),
        offset=draw(st.sampled_from(offsets)),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
    return Case(draw(st.sampled_from(scales)) * case.features, case.labels, classes)
