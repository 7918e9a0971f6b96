"""The loss is the cross entropy of the mean feature of each class that occurs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from layerwise.errors import InvalidLabels
from layerwise.heads import ETFClassifier
from layerwise.losses import centre_collapse


def brute_force(features: np.ndarray, labels: np.ndarray, weight: np.ndarray, ignored: int) -> float:
    losses = []
    for label in sorted(set(labels.ravel()) - {ignored}):
        positions = [features[place[0], :, *place[1:]] for place in np.ndindex(labels.shape) if labels[place] == label]
        scores = weight @ np.mean(positions, 0)
        losses.append(np.log(np.exp(scores).sum()) - scores[label])
    return float(np.mean(losses))


@pytest.mark.parametrize("shape", [(40,), (3, 5, 4)])
@pytest.mark.parametrize("ignored", [-100, 0])
def test_it_is_the_brute_force_form(shape, ignored):
    draws = np.random.default_rng(0)
    features = draws.normal(size=(shape[0], 6, *shape[1:]))
    labels = draws.integers(0, 4, size=shape)
    labels[0] = ignored
    head = nn.Linear(6, 5, bias=False).double()
    loss = centre_collapse(torch.from_numpy(features), torch.from_numpy(labels), head, ignore_index=ignored)
    assert loss.item() == pytest.approx(brute_force(features, labels, head.weight.detach().numpy(), ignored))


def test_a_rare_class_counts_as_much_as_a_common_one():
    features = torch.tensor([[1.0, 0.0]] * 99 + [[1.0, 0.0]])
    labels = torch.tensor([0] * 99 + [1])
    gradient = torch.autograd.functional.jacobian(lambda x: centre_collapse(x, labels, nn.Identity()), features)
    torch.testing.assert_close(
        gradient[:99].sum(0).norm() / gradient[99].norm(), torch.tensor(0.3679), atol=1e-4, rtol=0
    )


def test_gradients_are_right():
    head = ETFClassifier(5, 4).double()
    labels = torch.tensor([0, 1, 1, 3, 3, 3])
    features = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: centre_collapse(x, labels, head), (features,))


def test_without_labels_there_is_no_loss_and_no_gradient():
    features = torch.randn(2, 3, 4, requires_grad=True)
    loss = centre_collapse(features, torch.full((2, 4), -100), nn.Linear(3, 2))
    loss.backward()
    assert loss.item() == 0
    assert features.grad.abs().sum() == 0


def test_half_precision_is_summed_in_single():
    features = torch.full((4000, 2), 0.1, dtype=torch.float16)
    loss = centre_collapse(features, torch.zeros(4000, dtype=torch.long), nn.Identity())
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_labels_of_another_shape_are_refused():
    with pytest.raises(InvalidLabels, match=r"an integer for each position, shape \(2, 4, 4\)"):
        centre_collapse(torch.randn(2, 3, 4, 4), torch.zeros(2, 8, 8, dtype=torch.long), nn.Identity())
