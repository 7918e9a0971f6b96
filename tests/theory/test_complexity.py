"""Geometric complexity bounds collapse: with equality for affine maps, and for no network is it broken."""

from __future__ import annotations

import numpy as np
import pytest

from layerwise.theory import OutOfRange, cdnv_bound, pair_cdnv

PAIRS = np.triu_indices(3, 1)


def quadrature(centres, variance, order=60):
    """Points ``(K, P, 2)`` and weights ``(P,)`` that integrate over planar Gaussians to the last digits."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    points = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    return centres[:, None] + np.sqrt(variance) * points, np.outer(weights, weights).ravel() / (2 * np.pi)


def expectations(outputs, jacobians, weights):
    """Means, variances and geometric complexities of each class."""
    means = np.einsum("p,kpd->kd", weights, outputs)
    variances = np.einsum("p,kpd->k", weights, (outputs - means[:, None]) ** 2)
    return means, variances, np.einsum("p,kpij->k", weights, jacobians**2)


@pytest.mark.parametrize("seed", range(25))
def test_affine_maps_meet_the_bound(seed):
    generator = np.random.default_rng(seed)
    variance = generator.uniform(0.1, 3)
    points, weights = quadrature(3 * generator.standard_normal((3, 2)), variance, order=4)
    matrix = generator.standard_normal((4, 2))
    jacobians = np.broadcast_to(matrix, (*points.shape[:2], 4, 2))
    means, variances, complexities = expectations(points @ matrix.T + generator.standard_normal(4), jacobians, weights)
    bound = cdnv_bound(means, complexities, variance)
    np.testing.assert_allclose(pair_cdnv(means, variances)[PAIRS], bound[PAIRS], rtol=1e-10)


@pytest.mark.parametrize("seed", range(50))
def test_no_layer_of_a_random_network_breaks_the_bound(seed):
    generator = np.random.default_rng(seed)
    variance, gain = generator.uniform(0.05, 1.5), generator.uniform(0.3, 2)
    points, weights = quadrature(2 * generator.standard_normal((3, 2)), variance)
    outputs, jacobians = points, np.broadcast_to(np.eye(2), (*points.shape[:2], 2, 2))
    for width in (5, 4, 3):
        matrix = gain * generator.standard_normal((width, outputs.shape[-1])) / np.sqrt(outputs.shape[-1])
        outputs = np.tanh(outputs @ matrix.T + generator.standard_normal(width))
        jacobians = (1 - outputs[..., None] ** 2) * (matrix @ jacobians)
        means, variances, complexities = expectations(outputs, jacobians, weights)
        ratio = pair_cdnv(means, variances)[PAIRS] / cdnv_bound(means, complexities, variance)[PAIRS]
        assert ratio.max() <= 1 + 1e-9
        assert ratio.min() > 0


def test_parameters_outside_the_theorem_are_errors():
    with pytest.raises(OutOfRange, match="variance > 0"):
        cdnv_bound(np.eye(2), np.ones(2), 0.0)
    with pytest.raises(OutOfRange, match="complexities that are not negative"):
        cdnv_bound(np.eye(2), -np.ones(2), 1.0)
