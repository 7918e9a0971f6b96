"""A fixed classifier is a frame that no training moves, and that a profile finds."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from helpers.networks import Perceptron, blobs
from torch.nn.functional import cross_entropy

from layerwise import profile
from layerwise.errors import InvalidData
from layerwise.heads import ETFClassifier, FixedClassifier, orthogonal_frame, simplex_etf
from layerwise.theory import OutOfRange, fixed_classifier_minimiser
from layerwise.theory.frames import orthogonal_frame_gram, simplex_etf_gram
from layerwise.training.losses import dot_regression


@pytest.mark.parametrize(("classes", "features"), [(2, 1), (4, 3), (4, 4), (10, 700)])
def test_frames_are_those_of_the_theory_in_a_rotation_of_their_own(classes, features):
    first, second = (simplex_etf(classes, features, norm=1.5, seed=seed).double() for seed in (0, 3))
    for frame in (first, second):
        assert (frame @ frame.T).numpy() == pytest.approx(simplex_etf_gram(classes, 1.5), abs=1e-6)
    assert features == 1 or (first - second).abs().max() > 0.1
    assert torch.equal(first.float(), simplex_etf(classes, features, norm=1.5, seed=0))


def test_an_orthogonal_frame_keeps_its_norms():
    frame = orthogonal_frame([2.0, 0.0, 0.5], 5).double()
    assert (frame @ frame.T).numpy() == pytest.approx(orthogonal_frame_gram([2.0, 0.0, 0.5]), abs=1e-6)


def test_more_classes_than_fit_are_refused():
    with pytest.raises(OutOfRange, match="at least as many dimensions as its rank, 4"):
        ETFClassifier(3, classes=5)
    with pytest.raises(InvalidData, match=r"shape \(K, d\)"):
        FixedClassifier(torch.ones(3))
    with pytest.raises(InvalidData, match="above 0"):
        FixedClassifier(torch.eye(3), feature_norm=0)


def test_no_optimiser_initialiser_or_file_moves_it():
    net, other = Perceptron(), Perceptron()
    net.classifier, other.classifier = (ETFClassifier(16, classes=3, seed=seed) for seed in (0, 1))
    frame = net.classifier.weight.clone()
    optimiser = torch.optim.SGD(net.parameters(), 0.5, weight_decay=0.5)
    x, y = blobs()
    for _ in range(3):
        optimiser.zero_grad()
        dot_regression(net(x), y, net.classifier.scale).backward()
        optimiser.step()
    net.classifier.reset_parameters()
    assert torch.equal(net.classifier.weight, frame)
    kept = io.BytesIO()
    torch.save(net.state_dict(), kept)
    kept.seek(0)
    other.load_state_dict(torch.load(kept))
    assert torch.equal(other(x), net(x))


@pytest.mark.parametrize("loss", ["cross_entropy", "dot_regression"])
def test_features_come_to_their_own_row_for_any_imbalance(loss):
    torch.manual_seed(0)
    labels = torch.tensor([0] * 12 + [1] * 3 + [2])
    head = ETFClassifier(6, classes=3, norm=2.0, feature_norm=3.0)
    features = torch.randn(16, 6, requires_grad=True)
    optimiser = torch.optim.LBFGS([features], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def of(logits):
        return cross_entropy(logits, labels) if loss == "cross_entropy" else dot_regression(logits, labels, head.scale)

    def closure():
        optimiser.zero_grad()
        value = of(head(features))
        value.backward()
        return value

    optimiser.step(closure)
    predicted = fixed_classifier_minimiser(3, feature_energy=9.0, classifier_energy=4.0)
    expected = predicted.loss if loss == "cross_entropy" else predicted.dot_regression
    assert of(head(features)).item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    reached = 3 * torch.nn.functional.normalize(features.detach(), dim=1)
    # Dot regression is flat to third order around its minimum.
    torch.testing.assert_close(reached, predicted.ratio * head.weight[labels], atol=0.05, rtol=0)


def test_a_profile_finds_it_as_the_classifier():
    x, y = blobs()
    net = Perceptron()
    net.classifier = FixedClassifier(torch.randn(3, 16))
    plain = Perceptron()
    plain.load_state_dict({**net.state_dict(), "classifier.bias": torch.zeros(3)})
    metrics = ["self_duality", "weight_alignment", "condition_number", "ncc_mismatch"]
    found, expected = (profile(model, [(x, y)], metrics=metrics) for model in (net, plain))
    assert found["self_duality"].notnull().any()
    for name in metrics:
        np.testing.assert_array_equal(found[name], expected[name])
