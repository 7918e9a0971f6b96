"""A classifier that is fixed to a simplex ETF: the same features for any imbalance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layerwise.arguments import checked
from layerwise.theory.frames import simplex_etf_gram
from layerwise.theory.minimiser import Minimiser
from layerwise.theory.problems import Fit
from layerwise.theory.ranges import positive

__all__ = ["FixedClassifierMinimiser", "dot_regression", "fixed_classifier_minimiser"]


@dataclass(frozen=True, eq=False)
class FixedClassifierMinimiser(Minimiser):
    """Features in a ball in front of a fixed simplex ETF; `loss` is the least cross entropy.

    Attributes
    ----------
    ratio : float
        The features are this many times the classifier's row of their class.
    dot_regression : float
        The least dot-regression loss.
    """

    ratio: float
    dot_regression: float


@checked()
def fixed_classifier_minimiser(
    classes: int, feature_energy: float, classifier_energy: float
) -> FixedClassifierMinimiser:
    """Global minimiser over features in a ball of the cross entropy and of dot regression, with a fixed classifier.

    With the classifier a simplex ETF of ``||w_k||^2 = E_W`` and features ``||h_i||^2 <= E_H``, the minimiser of both
    the mean cross entropy of ``W h_i`` and the `dot_regression` of ``w_{y_i} . h_i`` is, sample by sample, ::

        h_i = sqrt(E_H/E_W) w_{y_i}
        cross entropy   log(1 + (K-1) exp(-sqrt(E_H E_W) K/(K-1)))
        dot regression  0

    and so it does not depend on how many samples a class has. It is the only minimiser of either loss in the ball.

    Assumes ``E_W, E_H > 0``.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    References
    ----------
    Yang et al. 2022, Inducing neural collapse in imbalanced learning: do we really need a learnable classifier at the
    end of deep neural network?

    Examples
    --------
    >>> found = fixed_classifier_minimiser(3, feature_energy=4.0, classifier_energy=1.0)
    >>> found.ratio, round(found.loss, 6)
    (2.0, 0.094923)
    """
    theorem = "the minimiser with a fixed classifier (Yang 2022)"
    positive(theorem, classes=classes - 1, feature_energy=feature_energy, classifier_energy=classifier_energy)
    ratio = float(np.sqrt(feature_energy / classifier_energy))
    gram = simplex_etf_gram(classes, np.sqrt(classifier_energy))
    margin = ratio * classifier_energy * classes / (classes - 1)
    return FixedClassifierMinimiser(
        loss=float(np.log1p((classes - 1) * np.exp(-margin))),
        logits=ratio * gram,
        weight_gram=gram,
        mean_gram=ratio**2 * gram,
        bias=np.zeros(classes),
        ratio=ratio,
        dot_regression=0.0,
    )


@checked()
def dot_regression(labels: np.ndarray, feature_energy: float, classifier_energy: float) -> Fit:
    """Dot-regression loss of logits ``(N, K)``, ``1/(2 s) mean (z_{i, y_i} - s)^2`` with ``s = sqrt(E_W E_H)``.

    It pulls features to their own row of the classifier and pushes none away. Yang et al. 2022.
    """
    scale = float(np.sqrt(feature_energy * classifier_energy))
    rows = np.arange(len(labels))

    def fit(logits: np.ndarray) -> tuple[float, np.ndarray]:
        residual = logits[rows, labels] - scale
        slope = np.zeros_like(logits)
        slope[rows, labels] = residual / (scale * len(labels))
        return float((residual**2).mean()) / (2 * scale), slope

    return fit
