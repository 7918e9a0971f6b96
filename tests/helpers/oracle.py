"""Every metric by brute force, from its definition alone: what the library's numbers are judged against.

Features are ``(n, d)`` in float64, rounded beforehand to whatever precision a network would have given them;
labels are ``(n,)`` integers. Means, residuals and long sums are taken in extended precision, so that the oracle
is better than the float64 code that it judges. ``eps`` is the machine epsilon of the captured dtype. A metric
that compares classes is NaN where there are fewer than two; classes that never occur are left out, and results
per class follow those that do, in ascending order. Pairs of classes are unordered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Exact = npt.NDArray[np.longdouble]
Labels = npt.NDArray[np.integer[Any]]
Centres = Mapping[int, Exact]
Weighting = Literal["samples", "classes"]

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Convention:
    """What papers disagree on: means, weights, constants, tolerance."""

    global_mean: Weighting = "classes"
    within: Weighting = "samples"
    between: Weighting = "classes"
    divide_by_classes: bool = True
    rank: Literal["tolerance", "top"] = "tolerance"
    ddof: int = 0
    shrunk: bool = False


CONVENTIONS = {
    "default": Convention(),
    "papyan": Convention(divide_by_classes=False, rank="top", ddof=1),
    "he_su": Convention(global_mean="samples", within="classes", divide_by_classes=False),
    "he_su_imbalanced": Convention(global_mean="samples", between="samples", divide_by_classes=False),
    "ibrahim": Convention(shrunk=True),
}


@dataclass(frozen=True)
class Moments:
    """``S_W = sum_i within_i r_i r_i^T`` and ``S_B = sum_c between_c m_c m_c^T``, as their factors."""

    classes: Labels
    counts: Labels
    position: Labels  # of every sample's class among `classes`
    means: Exact  # mu_c
    centred: Array  # m_c = mu_c - mu_G
    residuals: Array  # r_i = h_i - mu_{y_i}
    within: Array
    between: Array
    squares: Array  # mean h_j^2
    convention: Convention


def moments(features: Array, labels: Labels, convention: str = "default") -> Moments:
    """The parts of both scatter matrices."""
    recipe = CONVENTIONS[convention]
    exact = _exact(features)
    classes, position, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.stack([exact[labels == label].mean(axis=0) for label in classes])
    centre = means.mean(axis=0) if recipe.global_mean == "classes" else exact.mean(axis=0)
    share = {"samples": counts / len(labels), "classes": np.full(len(classes), 1 / len(classes))}
    return Moments(
        classes=classes,
        counts=counts,
        position=position,
        means=means,
        centred=(means - centre).astype(np.float64),
        residuals=(exact - means[position]).astype(np.float64),
        within=(share[recipe.within] / counts)[position],
        between=share[recipe.between],
        squares=(exact**2).mean(axis=0).astype(np.float64),
        convention=recipe,
    )


def noise_of(squares: Array, direction: Array, eps: float) -> float:
    """Variance of rounding along a direction, ``F u^2 sum_j v_j^2 mean(h_j^2)``; F is 16 but for half types."""
    return float(_share_of_noise(eps) * (direction**2 * squares).sum())


def _share_of_noise(eps: float) -> float:
    return (1.0 if eps > 1e-4 else 16.0) * (eps / 2) ** 2


def between_directions(m: Moments, eps: float = EPS) -> tuple[Array, Array]:
    """Singular values and right-singular vectors kept of the rows ``sqrt(between_c) m_c``, shape ``(C, d)``.

    At most C - 1 are kept; those within the rounding of class means are dropped, under ``rank="top"`` only exact
    zeros. A mean of n samples has ``1/n`` of the variance of their rounding, and more where they vary by less than it.
    """
    classes = len(m.classes)
    _, values, directions = np.linalg.svd(np.sqrt(m.between)[:, None] * m.centred, full_matrices=False)
    kept = (values > 0) & (np.arange(len(values)) < classes - 1)
    if m.convention.rank == "tolerance":
        edge = (1 + np.sqrt(m.centred.shape[1] / classes)) ** 2
        for place, direction in enumerate(directions):
            noise = noise_of(m.squares, direction, eps)
            within = float((m.within * (m.residuals @ direction) ** 2).sum())
            alike = max(1 - within / noise, 0.0) if noise > 0 else 0.0
            share = float((m.between * (1 / m.counts + (1 - 1 / m.counts) * alike)).sum())
            kept[place] &= values[place] ** 2 > share * noise * edge
            kept[place] &= values[place] > values[0] * classes * EPS
    return values[kept], directions[kept]


def in_range(features: Array, eps: float = EPS) -> Exact:
    """The features less their mean along the directions that stand above rounding, each in units of its own size."""
    scaled, directions, _ = _range(features, eps)
    return scaled @ _exact(directions).T


def without_noise(features: Array, eps: float = EPS) -> Array:
    """The features less what they have outside of those directions."""
    scaled, directions, scale = _range(features, eps)
    kept = scaled @ _exact(directions).T @ directions * scale
    return np.asarray(_exact(features).mean(axis=0) + kept, dtype=np.float64)


def _range(features: Array, eps: float) -> tuple[Exact, Array, Exact]:
    exact = _exact(features)
    scale = np.sqrt((exact**2).mean(axis=0))
    scale = np.where(scale > 0, scale, 1)
    scaled = (exact - exact.mean(axis=0)) / scale
    _, values, directions = np.linalg.svd(scaled.astype(np.float64) / np.sqrt(len(scaled)), full_matrices=False)
    edge = (1 + np.sqrt(features.shape[1] / len(features))) ** 2
    noise = _share_of_noise(eps)
    # A covariance in float64 holds variances down to d eps64 of the greatest.
    return scaled, directions[values**2 > max(noise * edge, features.shape[1] * EPS * values[0] ** 2)], scale


def between_rank(features: Array, labels: Labels, *, convention: str = "default", eps: float = EPS) -> float:
    """Rank of S_B by the tolerance; NaN below two classes."""
    m = moments(features, labels, convention)
    return float(len(between_directions(m, eps)[0])) if len(m.classes) > 1 else np.nan


def nc1(features: Array, labels: Labels, *, convention: str = "default", eps: float = EPS) -> float:
    """``tr(S_W S_B^+) = sum_k v_k^T S_W v_k / s_k^2``, over C by default; NaN where the class means coincide."""
    m = moments(features, labels, convention)
    values, directions = between_directions(m, eps)
    if len(values) == 0:
        return np.nan
    trace = np.longdouble(0)
    for value, direction in zip(values, directions, strict=True):
        trace += (m.within * _exact(m.residuals @ direction / value) ** 2).sum()
    return float(trace / len(m.classes) if m.convention.divide_by_classes else trace)


def nc1_trace(features: Array, labels: Labels, *, convention: str = "default") -> float:
    """``tr S_W / tr S_B``."""
    m = moments(features, labels, convention)
    within = (m.within * _squared_norms(m.residuals)).sum()
    between = (m.between * _squared_norms(m.centred)).sum()
    return _ratio(within, between) if len(m.classes) > 1 else np.nan


def cdnv(features: Array, labels: Labels) -> float:
    """Mean over pairs ``(v_c + v_k) / (2 ||mu_c - mu_k||^2)``."""
    means, variances = moments(features, labels).means, class_variance(features, labels)
    pairs = combinations(range(len(means)), 2)
    return _mean([_ratio(variances[c] + variances[k], 2 * ((means[c] - means[k]) ** 2).sum()) for c, k in pairs])


def separation(features: Array, labels: Labels, *, eps: float = EPS) -> float:
    """``log10`` of the he_su NC1, of he_su_imbalanced where class counts differ; -inf without variability."""
    counts = np.unique(labels, return_counts=True)[1]
    convention = "he_su" if len(set(counts)) == 1 else "he_su_imbalanced"
    with np.errstate(divide="ignore"):
        return float(np.log10(nc1(features, labels, convention=convention, eps=eps)))


def vci(features: Array, labels: Labels, *, convention: str = "default", eps: float = EPS) -> float:
    """``1 - tr(S_T^+ S_B) / min(d, C-1)``, d the number of directions in which the features vary.

    With ``S_W = R^T R`` and ``S_B = K^T K`` (K of r rows), ``r - tr(S_T^+ S_B)`` is the residual of the
    least-squares fit of ``[R; K] w`` to ``[0; I]``: a sum of squares, where nothing cancels under collapse.
    """
    m = moments(in_range(features, eps), labels, convention)
    full = min(m.centred.shape[1], len(m.classes) - 1)
    if full < 1:
        return np.nan
    _, values, directions = np.linalg.svd(np.sqrt(m.between)[:, None] * m.centred, full_matrices=False)
    values, directions = values[:full], directions[:full]
    between = values[:, None] * directions
    within = np.sqrt(m.within)[:, None] * m.residuals
    design = np.vstack([within, between])
    targets = np.vstack([np.zeros((len(within), len(values))), np.eye(len(values))])
    solution = np.linalg.lstsq(design, targets, rcond=max(design.shape) * EPS)[0]
    return float(_squared_norms(design @ solution - targets).sum() / full)


def equinorm(features: Array, labels: Labels, *, convention: str = "default") -> float:
    """``std_c ||m_c|| / mean_c ||m_c||``; the convention gives ddof."""
    m = moments(features, labels, convention)
    norms = np.sqrt(_squared_norms(m.centred))
    return _ratio(norms.std(ddof=m.convention.ddof), norms.mean()) if len(m.classes) > 1 else np.nan


def equiangularity(features: Array, labels: Labels, *, convention: str = "default") -> float:
    """Standard deviation (ddof 0 in every convention) over pairs of ``cos(m_c, m_k)``."""
    cosines = _cosines(moments(features, labels, convention))
    return float(np.std(cosines)) if cosines else np.nan


def max_angle(features: Array, labels: Labels, *, convention: str = "default") -> float:
    """Mean over pairs of ``|cos(m_c, m_k) + 1/(C-1)|``."""
    m = moments(features, labels, convention)
    return _mean([abs(cosine + 1 / (len(m.classes) - 1)) for cosine in _cosines(m)])


def etf_error(features: Array, labels: Labels, *, convention: str = "default") -> float:
    """``|| G/||G||_F - (I - 11^T/C)/sqrt(C-1) ||_F``, G the Gram matrix of the ``m_c``."""
    m = moments(features, labels, convention)
    classes = len(m.classes)
    if classes < 2:
        return np.nan
    simplex = (np.eye(classes) - 1 / classes) / np.sqrt(classes - 1)
    return float(np.linalg.norm(_unit(m.centred @ m.centred.T) - simplex))


def orthogonality_error(features: Array, labels: Labels) -> float:
    """``|| G/||G||_F - I/sqrt(C) ||_F``, G the Gram matrix of the uncentred ``mu_c``."""
    m = moments(features, labels)
    classes = len(m.classes)
    gram = (m.means @ m.means.T).astype(np.float64)
    return float(np.linalg.norm(_unit(gram) - np.eye(classes) / np.sqrt(classes))) if classes > 1 else np.nan


def frame_distance(features: Array, labels: Labels, gram: Array) -> float:
    """``|| G/||G||_F - I/||I||_F ||_F`` of the classes present; both centred where the frame's own vectors are."""
    m = moments(features, labels)
    means, ideal = m.means, gram[np.ix_(m.classes, m.classes)]
    if abs(gram.sum()) < 1e-8 * np.trace(gram):
        means = m.centred
        ideal = ideal - ideal.mean(0) - ideal.mean(1)[:, None] + ideal.mean()
    return float(np.linalg.norm(_unit((means @ means.T).astype(np.float64)) - _unit(ideal)))


def self_duality(features: Array, labels: Labels, weight: Array, *, convention: str = "default") -> float:
    """``|| W/||W||_F - M/||M||_F ||_F^2``, W uncentred, a row for each class, and both of the classes present."""
    m = moments(features, labels, convention)
    return float(_squared_norms(_unit(weight[m.classes]) - _unit(m.centred)).sum())


def weight_alignment(features: Array, labels: Labels, next_weight: Array, *, eps: float = EPS) -> float:
    """Mean cosine of the principal angles between the span of the ``m_c`` and the top of the next linear map.

    The span holds the r directions that ``S_B^+`` keeps; the map, shape ``(out, d)``, gives its top
    ``min(r, rank)`` right-singular vectors, and there are as many angles as the smaller space has dimensions.
    """
    directions = between_directions(moments(features, labels), eps)[1]
    count = min(len(directions), np.linalg.matrix_rank(next_weight))
    top = np.linalg.svd(next_weight, full_matrices=False)[2][:count]
    return _mean(list(np.minimum(np.linalg.svd(directions @ top.T, compute_uv=False), 1.0)))


def class_means(features: Array, labels: Labels) -> dict[int, Exact]:
    """The centres that a split gives to others: ``{class: mu_c}``."""
    return {int(label): _exact(features[labels == label]).mean(axis=0) for label in np.unique(labels)}


def nearest_class(features: Array, means: Centres) -> Labels:
    """The class of the Euclidean nearest centre, the lowest class where centres tie."""
    classes = sorted(means)
    distances = [((_exact(features) - means[label]) ** 2).sum(axis=1) for label in classes]
    return np.array([classes[nearest] for nearest in np.argmin(distances, axis=0)])


def ncc_error(features: Array, labels: Labels, *, means: Centres | None = None) -> float:
    """Share of samples whose nearest centre is not their label's; NaN below two centres.

    `means` are another split's centres, the features' own by default. A label that has no centre is an error.
    """
    return ncc_mismatch(features, labels, labels, means=means)


def ncc_mismatch(features: Array, labels: Labels, predicted: Labels, *, means: Centres | None = None) -> float:
    """Share of samples whose nearest centre is not the class predicted (which may have no centre: no match)."""
    means = class_means(features, labels) if means is None else means
    return float(np.mean(nearest_class(features, means) != predicted)) if len(means) > 1 else np.nan


def class_ncc_error(features: Array, labels: Labels, *, means: Centres | None = None) -> Array:
    """`ncc_error` of the samples of each class."""
    means = class_means(features, labels) if means is None else means
    groups = [labels == label for label in np.unique(labels)]
    return np.array([ncc_error(features[group], labels[group], means=means) for group in groups])


def class_norm(features: Array, labels: Labels, *, convention: str = "default") -> Array:
    """``||m_c||`` of each class; NaN for a lone class."""
    m = moments(features, labels, convention)
    return np.sqrt(_squared_norms(m.centred)).astype(np.float64) if len(m.classes) > 1 else np.full(1, np.nan)


def class_variance(features: Array, labels: Labels) -> Array:
    """``v_c`` of each class, 0 for a class of one sample; it compares no classes, so a lone one has it too."""
    m = moments(features, labels)
    return np.array([float(_squared_norms(m.residuals[labels == label]).mean()) for label in m.classes])


def within_class_variability(features: Array, labels: Labels) -> float:
    """Mean of ``v_c`` over the classes of two samples or more; 0 where there are none."""
    several = [label for label in np.unique(labels) if (labels == label).sum() > 1]
    kept = np.isin(labels, several)
    return float(np.mean(class_variance(features[kept], labels[kept]))) if several else 0.0


def probe_error(train_features: Array, train_labels: Labels, features: Array, labels: Labels, ridge: float) -> float:
    """Error of the ridge classifier that is fitted on the training features to one-hot targets.

    It minimises ``1/N sum_i ||W (h_i - mean) + b - onehot_i||^2 + ridge tr(S)/d ||W||_F^2`` over W and b, with
    S the covariance of the training features (divided by N); b costs nothing. The answer is the argmax among
    the training classes, the lowest on ties, and an error for a label that training never saw.
    """
    classes, position = np.unique(train_labels, return_inverse=True)
    solution = _affine_fit(_standard(train_features, train_features), np.eye(len(classes))[position], ridge)
    scores = _standard(features, train_features) @ solution
    return float(np.mean(classes[np.argmax(scores, axis=1)] != labels)) if len(classes) > 1 else np.nan


def hyperspherical_energy(features: Array, labels: Labels, *, convention: str = "default") -> float:
    """Mean over pairs of ``log(1/||u_c - u_k||)``, ``u_c = m_c/||m_c||``; inf where two directions coincide."""
    unit = _unit(moments(features, labels, convention).centred, axis=1)
    with np.errstate(divide="ignore"):
        return _mean([-np.log(np.linalg.norm(unit[c] - unit[k])) for c, k in combinations(range(len(unit)), 2)])


def majority_cosine(features: Array, labels: Labels, *, convention: str = "default") -> float:
    """Mean cosine over pairs of classes that have the average number of samples or more."""
    m = moments(features, labels, convention)
    return _mean_cosine(m.centred[m.counts >= m.counts.mean()])


def minority_cosine(features: Array, labels: Labels, *, convention: str = "default") -> float:
    """The same of classes that have fewer."""
    m = moments(features, labels, convention)
    return _mean_cosine(m.centred[m.counts < m.counts.mean()])


def class_count(features: Array, labels: Labels) -> Array:
    """Samples of each class that occurs."""
    return np.array([(labels == label).sum() for label in np.unique(labels)], dtype=np.float64)


def stable_rank(features: Array) -> float:
    """``tr S / lambda_max(S)``; NaN where no feature varies."""
    values = _covariance_eigenvalues(features)
    return _ratio(values.sum(), values.max())


def effective_rank(features: Array) -> float:
    """``exp(-sum p log p)`` of the eigenvalues' shares p, ``0 log 0 = 0``; NaN where no feature varies."""
    values = _covariance_eigenvalues(features)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else np.nan


def participation_ratio(features: Array) -> float:
    """``(tr S)^2 / tr(S^2)``; NaN where no feature varies."""
    values = _covariance_eigenvalues(features)
    return _ratio(values.sum() ** 2, (values**2).sum())


def numerical_rank(features: Array) -> float:
    """Number of eigenvalues strictly above ``1e-3 lambda_max``; 0 where no feature varies."""
    values = _covariance_eigenvalues(features)
    return float((values > 1e-3 * values.max()).sum())


def feature_norm(features: Array) -> float:
    """Mean ``||h_i||``, uncentred."""
    return float(np.sqrt(_squared_norms(features)).mean())


def weight_stable_rank(weight: Array) -> float:
    """``||W||_F^2 / ||W||_2^2``; NaN for a map that is zero."""
    return _ratio(_squared_norms(weight).sum(), np.linalg.norm(weight, 2) ** 2)


def condition_number(weight: Array, *, eps: float = EPS) -> float:
    """``||W||_2 ||W^+||_2``, the pseudo-inverse taken with the relative tolerance `eps`."""
    return float(np.linalg.norm(weight, 2) * np.linalg.norm(np.linalg.pinv(weight, rcond=eps), 2))


def balancedness(weight: Array, next_weight: Array) -> float:
    """``||A - B||_F / sqrt(||A||_F^2 + ||B||_F^2)``, A = next^T next and B = weight weight^T."""
    after, before = _exact(next_weight).T @ _exact(next_weight), _exact(weight) @ _exact(weight).T
    whole = _squared_norms(after).sum() + _squared_norms(before).sum()
    return _ratio(np.sqrt(_squared_norms(after - before).sum()), np.sqrt(whole))


def h_score(features: Array, labels: Labels, *, convention: str = "default", eps: float = EPS) -> float:
    """``tr(S_T^+ S_B)``, every sample counting once in both.

    With ``S_W = R^T R`` and ``S_B = K^T K`` (K of r rows) it is what a least-squares fit of ``[R; K] w`` to ``[0; I]``
    explains, along the directions in which the features vary. Shrunk (Ibrahim 2021), ``S_T`` is
    ``(1-a) (R^T R + K^T K) + a tr(S_T)/d I`` and ``S_B`` is ``(1-a) K^T K``.
    """
    recipe = CONVENTIONS[convention]
    plain = moments(features if recipe.shrunk else in_range(features, eps), labels, "he_su_imbalanced")
    if len(plain.classes) < 2:
        return np.nan
    _, values, directions = np.linalg.svd(np.sqrt(plain.between)[:, None] * plain.centred, full_matrices=False)
    between, within = values[:, None] * directions, plain.residuals / np.sqrt(len(labels))
    width = features.shape[1]
    if recipe.shrunk:
        intensity = ledoit_wolf(features)
        spread = (_squared_norms(within).sum() + (_squared_norms(plain.centred) * plain.between).sum()) / width
        between = np.sqrt(1 - intensity) * between
        diagonal = np.sqrt(float(intensity * spread)) * np.eye(width)
        within = np.vstack([np.sqrt(1 - intensity) * within, diagonal])
    design = np.vstack([within, between])
    targets = np.vstack([np.zeros((len(within), len(values))), np.eye(len(values))])
    solution = np.linalg.lstsq(design, targets, rcond=max(design.shape) * EPS)[0]
    return float((_exact(design @ solution) ** 2).sum())


def ledoit_wolf(features: Array) -> float:
    """Intensity of Ledoit & Wolf 2004, from the distances of single samples' ``x x^T`` to S."""
    exact = _exact(features) - _exact(features).mean(axis=0)
    count, width = exact.shape
    covariance = exact.T @ exact / count
    away = ((covariance - np.trace(covariance) / width * np.eye(width)) ** 2).sum()
    noise = sum(((np.outer(row, row) - covariance) ** 2).sum() for row in exact) / count**2
    return float(min(noise, away) / away) if away > 0 else 0.0


def logme(features: Array, labels: Labels, *, eps: float = EPS) -> float:
    """Maximum log evidence over N of each class's indicator, averaged: You 2021's iteration, run until it stands.

    ``alpha <- gamma / ||m||^2`` and ``beta <- (N - gamma) / ||F m - y||^2`` with the posterior mean m and
    ``gamma = sum beta s / (alpha + beta s)``, on the singular value decomposition of the features as they are; no
    constant is added to a denominator. It climbs the hill that it starts on: the highest of many starts is taken.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return np.nan
    return _mean([log_evidence(features, (labels == label).astype(float), eps=eps) for label in classes])


def log_evidence(features: Array, target: Array, *, eps: float = EPS) -> float:
    """The same of one target, over N."""
    features = without_noise(features, eps)
    left, singular, axes = np.linalg.svd(features, full_matrices=False)
    squares, edge = (features**2).mean(axis=0), (1 + np.sqrt(features.shape[1] / len(features))) ** 2
    noise = np.array([noise_of(squares, direction, eps) for direction in axes])
    kept = singular**2 > np.maximum(len(features) * edge * noise, (singular[0] * sum(features.shape) * EPS) ** 2)
    left, variances = left[:, kept], singular[kept] ** 2
    count, along = len(target), left.T @ target
    beyond = float(_squared_norms((target - left @ along)[None])[0])
    if beyond <= (count * EPS) ** 2:
        beyond = 0.0
        if count > len(variances):
            return np.inf
    starts = np.exp(np.arange(np.log(variances[-1]) - 70, np.log(variances[0]) + 10, 4.0))
    nothing = -count / 2 * (np.log(2 * np.pi * (target**2).mean()) + 1)  # all weights zero, alpha infinite
    return float(max(nothing, *(_climb(start, variances, along**2, beyond, count) for start in starts)) / count)


def _climb(ratio: float, variances: Array, along: Array, beyond: float, count: int) -> float:
    best = -np.inf
    for _ in range(2_000):
        gamma = (variances / (variances + ratio)).sum()
        size = (variances * along / (ratio + variances) ** 2).sum()
        residual = (along * (ratio / (ratio + variances)) ** 2).sum() + beyond
        if size == 0:
            break
        noise = count - len(variances) + (ratio / (variances + ratio)).sum()  # N - gamma, without a difference
        alpha, beta = gamma / size, noise / residual
        evidence = (
            -np.log1p(variances * beta / alpha).sum() / 2
            + count / 2 * np.log(beta / (2 * np.pi))
            - beta / 2 * residual
            - alpha / 2 * size
        )
        moved, ratio, best = abs(np.log(alpha / beta / ratio)), alpha / beta, max(best, evidence)
        if moved < 1e-9 or not variances[-1] * 1e-40 < ratio < variances[0] * 1e9:
            break
    return float(best)


class Losses(NamedTuple):
    """A least-squares loss, and its parts: lost to the spread within classes, and to the class means."""

    total: float
    within: float
    means: float


def han_identities(features: Array, labels: Labels) -> tuple[Losses, Losses]:
    """Minimum over W and b of ``1/(2N) sum ||W h + b - onehot||^2`` as fitted, and its closed form (balanced).

    The parts are the same mean of ``||W (h_i - mu_c)||^2`` and of ``||W mu_c + b - onehot_c||^2``. With ``w_j``
    the C-1 singular values of ``S_W^(-1/2) [m_c]`` and ``q = w^2/C`` they equal ``1/(2C)`` times the sum of
    ``1/(1+q)``, of ``q/(1+q)^2`` and of ``1/(1+q)^2``. S_W must be invertible.
    """
    m = moments(features, labels)
    classes = len(m.classes)
    onehot = np.eye(classes)[m.position]
    inputs, at_means = _standard(features, features), _standard(m.means[m.position], features)
    solution = _affine_fit(inputs, onehot, 0.0)
    parts = (inputs @ solution - onehot, (inputs - at_means) @ solution, at_means @ solution - onehot)
    fitted = Losses(*(float(_squared_norms(part).mean() / 2) for part in parts))

    _, values, directions = np.linalg.svd(m.residuals / np.sqrt(len(labels)), full_matrices=False)
    found = np.linalg.svd(m.centred @ directions.T / values, compute_uv=False)[: classes - 1]
    q = np.pad(found, (0, classes - 1 - len(found))) ** 2 / classes
    shares = (1 / (1 + q), q / (1 + q) ** 2, 1 / (1 + q) ** 2)
    return fitted, Losses(*(float(share.sum() / (2 * classes)) for share in shares))


def batches(
    features: Array, labels: Labels, sizes: int | Sequence[int] = 32, *, seed: int | None = None
) -> Iterator[tuple[Array, Labels]]:
    """Batches of one size, or of the sizes given and then the rest; in an order drawn from `seed`, if given."""
    order = np.arange(len(labels))
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    cuts = np.arange(sizes, len(labels), sizes) if isinstance(sizes, int) else np.cumsum(sizes)
    for part in np.split(order, cuts):
        if len(part):
            yield features[part], labels[part]


def _exact(values: npt.ArrayLike) -> Exact:
    return np.asarray(values, dtype=np.longdouble)


def _squared_norms(rows: npt.ArrayLike) -> Exact:
    return np.asarray((_exact(rows) ** 2).sum(axis=1))


def _mean(values: Sequence[float]) -> float:
    return float(_exact(values).mean()) if values else np.nan


def _ratio(above: Any, below: Any) -> float:
    """A quotient that is inf or NaN over zero, without a warning."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.longdouble(above) / np.longdouble(below))


def _unit(matrix: Array, axis: int | None = None) -> Array:
    """Over its Frobenius norm, or each row over its own (axis 1); NaN where that is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(matrix / np.linalg.norm(matrix, axis=axis, keepdims=True))


def _cosines(m: Moments) -> list[float]:
    unit = _unit(m.centred, axis=1)
    return [float(unit[c] @ unit[k]) for c, k in combinations(range(len(unit)), 2)]


def _mean_cosine(means: Array) -> float:
    unit = _unit(means, 1)
    found = [float(unit[i] @ unit[j]) for i, j in combinations(range(len(unit)), 2)]
    return float(np.mean(found)) if found else np.nan


def _covariance_eigenvalues(features: Array) -> Array:
    """Eigenvalues of the covariance of all features (divided by N), as squared singular values."""
    centred = (_exact(features) - _exact(features).mean(axis=0)).astype(np.float64)
    return np.linalg.svd(centred / np.sqrt(len(features)), compute_uv=False) ** 2


def _standard(features: npt.ArrayLike, reference: Array) -> Array:
    """Less the reference's mean, over ``sqrt(tr(S)/d)`` so that the penalty needs no scale, and a column of ones."""
    centre = _exact(reference).mean(axis=0)
    scale = np.sqrt(((_exact(reference) - centre) ** 2).mean()) or np.longdouble(1)
    centred = ((_exact(features) - centre) / scale).astype(np.float64)
    return np.hstack([centred, np.ones((len(centred), 1))])


def _affine_fit(inputs: Array, targets: Array, ridge: float) -> Array:
    """The least ``1/N ||X W - Y||^2 + ridge ||W||^2``, where W's last row, the intercept, costs nothing."""
    count, width = inputs.shape
    design = np.vstack([inputs / np.sqrt(count), np.sqrt(ridge) * np.eye(width - 1, width)])
    wanted = np.vstack([targets / np.sqrt(count), np.zeros((width - 1, targets.shape[1]))])
    return np.asarray(np.linalg.lstsq(design, wanted, rcond=None)[0])
