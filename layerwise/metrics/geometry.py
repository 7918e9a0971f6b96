"""NC2: the norms of the class means, and the angles and distances between them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from layerwise.metrics.convention import Convention
from layerwise.metrics.pairs import pair_cosines, pair_distances, unit_rows
from layerwise.metrics.registry import metric
from layerwise.metrics.sizes import Sizes, of_pairs
from layerwise.statistics.moments import Moments
from layerwise.theory import frames

__all__ = [
    "class_norm",
    "equiangularity",
    "equinorm",
    "etf_error",
    "frame_distance",
    "hyperspherical_energy",
    "max_angle",
    "orthogonality_error",
]


def centered(moments: Moments, convention: Convention) -> np.ndarray:
    """Return the class means less the global mean of the convention, shape ``(k, d)``."""
    if convention.global_mean == "samples":
        return np.asarray(moments.centered - moments.shares @ moments.centered)
    return moments.centered


def _frame_error(vectors: np.ndarray, *, centring: bool) -> float:
    """Return the distance of the rows' Gram matrix from that of a simplex ETF or an orthogonal frame, at norm one."""
    count, width = vectors.shape
    if count <= 2 * width:
        ideal = frames.simplex_etf_gram(count) if centring else np.eye(count)
        return frames.frame_distance(vectors, ideal)
    # So many vectors cannot come near the frame: the inner product of the two matrices keeps all digits, and needs no
    # matrix of classes by classes.
    inner = (vectors**2).sum() - centring * (vectors.sum(0) ** 2).sum() / count
    cosine = inner / (np.linalg.norm(vectors.T @ vectors) * np.sqrt(count - centring))
    return float(np.sqrt(2 - 2 * cosine))


def _workspace_of_gram(sizes: Sizes) -> int:
    means = sizes.classes * sizes.features
    return 3 * means + (5 * sizes.classes**2 if sizes.classes <= 2 * sizes.features else 2 * sizes.features**2)


def _mean_over_pairs(sums: Iterable[float], count: int) -> float:
    return float(sum(sums) / (count * (count - 1) / 2))


@metric("spread of class-mean norms", direction="down", reference="Papyan 2020 (NC2)")
def equinorm(moments: Moments, convention: Convention) -> float:
    """Coefficient of variation of the norms of the class means, ``std_c ||m_c|| / mean_c ||m_c||``.

    Returns
    -------
    float
        In ``[0, inf)``; 0 at collapse, where all class means are equally far from the global mean.

    References
    ----------
    Papyan 2020, doi:10.1073/pnas.2015509117.
    """
    norms = np.linalg.norm(centered(moments, convention), axis=1)
    return float(norms.std(ddof=convention.ddof) / norms.mean())


@metric("spread of class-mean angles", direction="down", reference="Papyan 2020 (NC2)", workspace=of_pairs)
def equiangularity(moments: Moments, convention: Convention) -> float:
    """Standard deviation over pairs of classes of ``cos(m_c, m_k)``.

    Returns
    -------
    float
        In ``[0, 1]``; 0 at collapse, where all pairs of class means form the same angle.

    References
    ----------
    Papyan 2020, doi:10.1073/pnas.2015509117.
    """
    means = centered(moments, convention)
    count = len(means)
    average = _mean_over_pairs((cosines.sum() for _, _, cosines in pair_cosines(means)), count)
    squares = (((cosines - average) ** 2).sum() for _, _, cosines in pair_cosines(means))
    return float(np.sqrt(_mean_over_pairs(squares, count)))


@metric("distance from maximal class-mean angles", direction="down", reference="Papyan 2020 (NC2)", workspace=of_pairs)
def max_angle(moments: Moments, convention: Convention) -> float:
    """Mean over pairs of classes of ``|cos(m_c, m_k) + 1/(C-1)|``.

    Returns
    -------
    float
        In ``[0, 2]``; 0 at collapse, where the class means are as far apart as C directions can be.

    References
    ----------
    Papyan 2020, doi:10.1073/pnas.2015509117.
    """
    means = centered(moments, convention)
    least = 1 / (len(means) - 1)
    return _mean_over_pairs((np.abs(cosines + least).sum() for _, _, cosines in pair_cosines(means)), len(means))


@metric(
    "distance of class means from a simplex ETF",
    direction="down",
    reference="Zhu 2021 (NC2)",
    workspace=_workspace_of_gram,
)
def etf_error(moments: Moments, convention: Convention) -> float:
    """Distance of the Gram matrix of the class means from that of a simplex equiangular tight frame.

    ``|| G/||G||_F - (I - 11^T/C)/sqrt(C-1) ||_F`` with ``G = M M^T`` of the ``m_c``.

    Returns
    -------
    float
        In ``[0, 2]``; 0 at collapse.

    References
    ----------
    Zhu 2021, arXiv:2105.02375.
    """
    return _frame_error(centered(moments, convention), centring=True)


@metric(
    "distance of class means from an orthogonal frame",
    direction="down",
    reference="Dang 2023, 2024",
    workspace=_workspace_of_gram,
)
def orthogonality_error(moments: Moments) -> float:
    """Distance of the Gram matrix of the uncentred class means from that of an orthogonal frame.

    ``|| G/||G||_F - I/sqrt(C) ||_F`` with ``G`` of the ``mu_c``.

    Returns
    -------
    float
        In ``[0, 2]``; 0 at the collapse of ReLU features and of networks without bias.

    References
    ----------
    Dang 2023, arXiv:2301.00437; Dang 2024, arXiv:2401.02058.
    """
    return _frame_error(moments.means, centring=False)


@metric(
    "distance of class means from the frame that was asked for",
    direction="down",
    reference="Zhu 2021; Zhou 2022; Dang 2023, 2024",
    default=False,
    workspace=_workspace_of_gram,
)
def frame_distance(moments: Moments, frame: frames.Frame) -> float:
    """Distance of the Gram matrix of the class means from that of a given frame.

    ``|| G/||G||_F - I/||I||_F ||_F`` with ``I`` the Gram matrix of the frame. ``G`` is that of the ``m_c`` where the
    vectors of the frame sum to zero, as those of a simplex ETF do, else that of the uncentred ``mu_c``.
    `layerwise.theory.predict` returns the frame that the theory expects of a training.

    Returns
    -------
    float
        In ``[0, sqrt(2)]``; 0 at collapse, where the class means are the frame, up to rotation and scale.

    References
    ----------
    Zhu 2021, arXiv:2105.02375; Zhou 2022, arXiv:2203.01238; Dang 2023, arXiv:2301.00437; Dang 2024,
    arXiv:2401.02058.
    """
    return frame.distance(moments.means, moments.classes)


@metric(
    "hyperspherical energy of class means",
    direction="down",
    reference="Jiang 2023; Wu & Papyan 2024",
    workspace=of_pairs,
)
def hyperspherical_energy(moments: Moments, convention: Convention) -> float:
    """Mean over pairs of classes of ``log(1 / ||u_c - u_k||)`` with ``u_c = m_c/||m_c||``.

    Returns
    -------
    float
        In ``[-log 2, inf)``; lowest at collapse, where the directions are spread as evenly as they can be, also with
        more classes than dimensions.

    References
    ----------
    Jiang 2023, arXiv:2310.05351; Wu & Papyan 2024, arXiv:2405.17767.
    """
    unit = unit_rows(centered(moments, convention))
    return _mean_over_pairs((-np.log(squares).sum() / 2 for _, _, squares in pair_distances(unit)), len(unit))


@metric(
    "norm of a class mean",
    direction="none",
    units="feature",
    dims=("epoch", "split", "target", "layer", "class"),
    reference="Dang 2023, 2024; Hong & Ling 2023",
)
def class_norm(moments: Moments, convention: Convention) -> np.ndarray:
    """Distance of each class mean from the global mean, ``||m_c||``.

    Returns
    -------
    ndarray
        In ``[0, inf)``, one number for each class; neither direction is collapse. NaN for a class without samples.

    References
    ----------
    Dang 2023, arXiv:2301.00437; Dang 2024, arXiv:2401.02058; Hong & Ling 2023, arXiv:2309.09725.
    """
    return moments.by_label(np.linalg.norm(centered(moments, convention), axis=1))
