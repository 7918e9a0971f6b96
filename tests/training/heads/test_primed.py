"""A primed head adds what the attribute says, and nothing without it."""

from __future__ import annotations

import pytest
import torch

from layerwise.errors import InvalidArgument, InvalidLabels
from layerwise.heads import PrimedClassifier
from layerwise.losses import primed_cross_entropy


def head(classes: int = 4, attributes: int = 3) -> PrimedClassifier:
    torch.manual_seed(0)
    return PrimedClassifier(6, classes, attributes).double()


def test_scores_are_two_maps_of_features_and_prime():
    primed, features, colours = head(), torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 2, 0])
    expected = features @ primed.of_features.weight.T + primed.primes[colours] @ primed.of_prime.weight.T
    torch.testing.assert_close(primed(features, colours), expected)
    torch.testing.assert_close(primed(features), features @ primed.of_features.weight.T)


def test_primes_are_unit_rows_of_an_etf_that_no_optimiser_changes():
    primed = head()
    gram = 1.5 * (torch.eye(3, dtype=torch.float64) - 1 / 3)
    torch.testing.assert_close(primed.primes @ primed.primes.T, gram, rtol=0, atol=1e-6)
    assert {name for name, _ in primed.named_parameters()} == {"of_features.weight", "of_prime.weight"}
    assert "primes" in primed.state_dict()


def test_the_loss_is_that_of_the_paper_term_by_term():
    primed, features = head(), torch.randn(5, 6, dtype=torch.float64)
    labels, colours = torch.tensor([0, 3, 1, 2, 0]), torch.tensor([0, 2, 1, 2, 0])
    scores = primed(features, colours).detach()
    share = primed.of_prime(primed.primes[colours]).detach()
    expected = [
        scores[i].logsumexp(0) - scores[i, labels[i]] + 0.8 * (share[i].logsumexp(0) - share[i, colours[i]])
        for i in range(5)
    ]
    loss = primed_cross_entropy(primed, features, labels, colours)
    torch.testing.assert_close(loss.detach(), torch.stack(expected).mean())


def test_gradients_are_right():
    primed = head()
    labels, colours = torch.tensor([0, 3, 1]), torch.tensor([0, 2, 1])
    features = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: primed_cross_entropy(primed, h, labels, colours), (features,))


def test_attributes_of_another_kind_are_refused():
    with pytest.raises(InvalidArgument, match="at most as many as classes"):
        head(classes=3, attributes=4)
    with pytest.raises(InvalidLabels, match="an integer for each of 2 samples"):
        head()(torch.randn(2, 6, dtype=torch.float64), torch.tensor([0, 1, 2]))
