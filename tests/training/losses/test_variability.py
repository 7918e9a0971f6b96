"""The variability of a batch and dot regression are their formulas, and so are their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import oracle
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from layerwise.errors import InvalidLabels
from layerwise.losses import within_class_variability
from layerwise.theory import dot_regression as closed_form
from layerwise.training.losses import dot_regression


def drawn(seed: int, samples: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(samples, 5, generator=generator, dtype=torch.float64)
    return features, torch.randint(-3, classes - 3, (samples,), generator=generator)


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 8))
def test_variability_is_that_of_the_formula(seed, samples, classes):
    features, labels = drawn(seed, samples, classes)
    expected = oracle.within_class_variability(features.numpy(), labels.numpy())
    assert within_class_variability(features, labels).item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(st.integers(0, 10_000), st.floats(-8, 8))
def test_variability_knows_no_rotation_no_shift_and_no_order_and_goes_with_the_square_of_the_scale(seed, scale):
    features, labels = drawn(seed, 12, 4)
    rotation = torch.linalg.qr(drawn(seed + 1, 5, 2)[0]).Q
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    turned = (scale * features @ rotation + 3)[order]
    torch.testing.assert_close(
        within_class_variability(turned, labels[order]), scale**2 * within_class_variability(features, labels)
    )


def test_a_step_down_its_gradient_draws_each_class_to_its_mean_and_leaves_the_means():
    features, labels = drawn(0, 12, 3)[0], torch.arange(12) % 3
    features.requires_grad_()
    loss = within_class_variability(features, labels)
    loss.backward()
    # The gradient is 2/(K n_c) times the distance from the mean, so this step takes balanced classes all the way.
    stepped = features.detach() - features.grad * 4 * 3 / 2
    assert loss > 1e-2
    assert within_class_variability(stepped, labels) < 1e-24
    for label in labels.unique():
        torch.testing.assert_close(stepped[labels == label].mean(0), features[labels == label].mean(0))


def test_classes_of_one_sample_and_batches_of_nothing_else_pull_nowhere():
    features = torch.randn(3, 4, requires_grad=True)
    loss = within_class_variability(features, torch.tensor([5, 0, 9]))
    loss.backward()
    assert loss == 0
    assert torch.equal(features.grad, torch.zeros(3, 4))


def test_gradients_are_those_of_differences():
    features, labels = drawn(3, 9, 3)
    assert gradcheck(lambda x: within_class_variability(x, labels), features.requires_grad_())
    logits = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda z: dot_regression(z, torch.arange(6) % 4, 1.7), logits)


def test_half_precision_and_autocast_are_summed_in_single():
    features, labels = drawn(4, 200, 2)
    features = (features + 30).bfloat16()
    expected = oracle.within_class_variability(features.double().numpy(), labels.numpy())
    with torch.autocast("cpu", torch.bfloat16):
        found = within_class_variability(features, labels)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_dot_regression_is_that_of_the_theorem():
    logits, labels = np.random.default_rng(0).standard_normal((7, 3)), np.arange(7) % 3
    value, slope = closed_form(labels, feature_energy=4.0, classifier_energy=0.25)(logits)
    given = torch.tensor(logits, requires_grad=True)
    loss = dot_regression(given, torch.tensor(labels), scale=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(value)
    np.testing.assert_allclose(given.grad.numpy(), slope)


def test_dot_regression_in_units_of_each_features_own_length_pulls_along_the_row_alone():
    # Yang 2022: the gradient is -(1 - cos(h, w)) w, whatever the length of the feature.
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(3, 5, generator=generator, dtype=torch.float64))
    features = 7 * torch.randn(6, 5, generator=generator, dtype=torch.float64)
    features.requires_grad_()
    labels, lengths = torch.arange(6) % 3, features.norm(dim=1)
    dot_regression(features @ rows.T, labels, lengths).backward()
    cosines = (features.detach() * rows[labels]).sum(1) / lengths.detach()
    torch.testing.assert_close(6 * features.grad, -(1 - cosines)[:, None] * rows[labels])


@pytest.mark.parametrize("labels", [torch.zeros(4), torch.zeros(5, dtype=torch.long), torch.zeros(4, 1).long()])
def test_labels_that_are_not_one_integer_a_sample_are_refused(labels):
    with pytest.raises(InvalidLabels, match="an integer for each of 4 samples"):
        within_class_variability(torch.ones(4, 2), labels)
