"""The frame that theory predicts for the last layer of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from layerwise.arguments import checked
from layerwise.errors import UnknownName
from layerwise.theory.cross_entropy import cross_entropy_minimiser
from layerwise.theory.deep_linear import deep_linear_minimiser
from layerwise.theory.frames import Frame
from layerwise.theory.imbalance import nonnegative_minimiser
from layerwise.theory.optimise import solve
from layerwise.theory.problems import chain, cross_entropy, squared_error
from layerwise.theory.ranges import class_counts, positive, require
from layerwise.theory.squared_error import squared_error_minimiser

__all__ = ["Loss", "implied_feature_decay", "predict"]

Loss = Literal["cross_entropy", "squared_error"]


@checked()
def predict(
    counts: Sequence[int] | np.ndarray,
    weight_decay: float,
    feature_decay: float,
    *,
    loss: Loss = "cross_entropy",
    relu: bool = False,
    bias_decay: float = np.inf,
    linear_layers: int = 1,
) -> Frame:
    """Return the frame of the last layer's class means at the least loss, by the closed form that applies.

    =============  ========  ========  =================================================================
    loss           classes   features  frame
    =============  ========  ========  =================================================================
    cross entropy  equal     any sign  simplex ETF (`cross_entropy_minimiser`), with a bias or without
    cross entropy  equal     ReLU      orthogonal (`nonnegative_minimiser`), with a bias or without
    cross entropy  unequal   ReLU      general orthogonal (`nonnegative_minimiser`), without a bias
    squared error  equal     any sign  between simplex ETF and orthogonal (`squared_error_minimiser`)
    squared error  unequal   any       general orthogonal (`deep_linear_minimiser`), without a bias
    either         unequal   any sign  no closed form: found by descent, on one feature a class
    =============  ========  ========  =================================================================

    With equal classes and a ReLU, a bias changes nothing. Over wide features the least loss is convex in logits and
    bias, and symmetric in the classes. An equal bias is therefore among the best, and does not change probabilities.

    Parameters
    ----------
    counts : sequence of int
        Training samples of each class.
    weight_decay : float
        ``lW`` of the last linear maps, in the convention of optimisers: ``lW/2 ||W||^2`` is added to the mean loss.
    feature_decay : float
        ``lH`` of the features. In a network it is due to the decay of the weights below: see `implied_feature_decay`.
    loss : {"cross_entropy", "squared_error"}
        Squared error is ``1/(2N) ||Z - Y||^2``. A mean over all entries is ``2/K`` times that: divide the decays by
        ``2/K``.
    relu : bool
        Whether the features are nonnegative.
    bias_decay : float
        ``lb`` of the classifier's bias; infinite for a classifier without a bias.
    linear_layers : int
        Linear maps after the features; more than one only for squared error without a bias.

    Raises
    ------
    OutOfRange
        If no theorem applies to the training.
    UnknownName
        If there is no such loss.

    Examples
    --------
    >>> predict([100] * 10, 5e-4, 5e-6).name
    'simplex ETF'
    >>> frame = predict([400, 100, 25], 5e-3, 5e-4, relu=True)
    >>> frame.name, (frame.norms / frame.norms.max()).round(3)
    ('general orthogonal frame', array([0.63 , 0.807, 1.   ]))
    """
    if loss not in get_args(Loss):
        raise UnknownName("loss", str(loss), get_args(Loss))
    sizes = class_counts("a predicted frame", counts)
    positive("a predicted frame", weight_decay=weight_decay, feature_decay=feature_decay)
    require(bias_decay >= 0, "a predicted frame", f"bias_decay >= 0, not {bias_decay}")
    classes, equal, biased = len(sizes), bool((sizes == sizes[0]).all()), bias_decay < np.inf
    if linear_layers > 1:
        require(loss == "squared_error" and not biased, "a frame behind several maps", "squared error without a bias")
    if relu and biased:
        theorem = "the frame of ReLU features with a bias"
        require(equal and loss == "cross_entropy", theorem, "cross entropy and equal classes")
    if loss == "cross_entropy" and relu:
        return Frame(nonnegative_minimiser(sizes, weight_decay, feature_decay).mean_gram)
    if loss == "cross_entropy" and equal:
        return Frame(cross_entropy_minimiser(classes, int(sizes[0]), weight_decay, feature_decay).mean_gram)
    if loss == "squared_error" and not biased:
        return Frame(deep_linear_minimiser(sizes, [weight_decay] * linear_layers, feature_decay).mean_gram)
    if loss == "squared_error" and equal:
        return Frame(squared_error_minimiser(classes, int(sizes[0]), weight_decay, feature_decay, bias_decay).mean_gram)
    return _found_by_descent(sizes, weight_decay, feature_decay, bias_decay if biased else None, loss)


@checked()
def implied_feature_decay(weight_decay: float, classifier: np.ndarray, features: np.ndarray) -> float:
    """Return the ``lH`` that balances a classifier ``(K, d)`` and features ``(N, d)``, ``lW ||W||^2 / ||H||^2``.

    Scaling W up and H down by the same factor does not change the logits, so that ``lW ||W||_F^2 = lH ||H||_F^2`` at
    any stationary point of an unconstrained features model (Zhu et al. 2021). For a trained network, it is the feature
    decay of the model in which the network is such a point.

    Examples
    --------
    >>> round(implied_feature_decay(0.01, np.ones((2, 3)), np.ones((20, 3))), 9)
    0.001
    """
    return weight_decay * float(np.linalg.norm(classifier) ** 2 / np.linalg.norm(features) ** 2)


def _found_by_descent(
    sizes: np.ndarray, weight_decay: float, feature_decay: float, bias_decay: float | None, loss: Loss
) -> Frame:
    """Return the frame of unequal classes whose features may have any sign, by descent on the class means.

    At the least loss all samples of a class equal their mean, and the loss is convex in the logits.
    """
    classes, shares = len(sizes), sizes / sizes.sum()
    labels, targets = np.arange(classes), np.eye(classes)
    fit = cross_entropy(labels, shares=shares) if loss == "cross_entropy" else squared_error(targets, shares=shares)
    shapes: dict[str, tuple[int, ...]] = {"features": (classes, classes + 1), "weight": (classes, classes + 1)}
    penalties: dict[str, float | np.ndarray] = {"features": feature_decay * sizes[:, None], "weight": weight_decay}
    if bias_decay is not None:
        shapes["bias"], penalties["bias"] = (classes,), bias_decay
    problem = chain(fit, shapes, penalties)
    features = solve(problem, problem.draw(np.random.default_rng(0)), polish=0).point["features"]
    # Descent to zero ends near it: features that are this small in comparison with norm one count as zero.
    is_zero = (features**2 * sizes[:, None]).sum() < 1e-8 * np.sqrt(weight_decay / feature_decay)
    return Frame(np.zeros((classes, classes)) if is_zero else features @ features.T)
