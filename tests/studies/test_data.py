"""Data of the studies: found where it is, in units of its spread."""

from __future__ import annotations

import pytest
import torch

from layerwise.errors import UnknownName
from layerwise.studies.data import gaussian_mixture, load_pictures, locate, teacher_regression


def test_a_local_file_goes_before_a_package_and_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERWISE_REAL_DATA", str(tmp_path))
    assert locate("cifar10") == "hf:uoft-cs/cifar10?image=img&label=label"
    (tmp_path / "cifar10.npz").touch()
    assert locate("cifar10?limit=5") == f"npz:{tmp_path}/cifar10.npz?limit=5"


def test_a_data_name_is_left_as_it_is():
    assert locate("npz:own.npz?limit=3") == "npz:own.npz?limit=3"
    with pytest.raises(UnknownName, match="no data 'cifar'; nearest: cifar10"):
        locate("cifar")


def test_pictures_have_mean_0_and_variance_1_over_the_training_split():
    splits = load_pictures("digits?limit=100")
    assert set(splits) == {"train", "test"}
    inputs, labels = splits["train"]
    assert (inputs.mean().item(), inputs.std().item()) == pytest.approx((0, 1), abs=1e-5)
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_a_teacher_gives_targets_of_the_rank_asked_for_and_of_variance_1_along_it(rank):
    _, targets = teacher_regression(400, 6, targets=5, rank=rank, seed=3)["train"]
    centred = targets.double() - targets.double().mean(0)
    variances = torch.linalg.svdvals(centred) ** 2 / 400
    assert int((variances > 1e-6).sum()) == rank
    assert float(variances.sum()) == pytest.approx(rank, rel=1e-4)


def test_a_gaussian_mixture_has_exactly_the_covariance_asked_for_and_means_apart():
    inputs, labels = gaussian_mixture(3, 40, 5, variance=0.3, seed=1)["train"]
    assert labels.bincount().tolist() == [40, 40, 40]
    for label in range(3):
        own = inputs[labels == label]
        torch.testing.assert_close(torch.cov(own.T, correction=0), 0.3 * torch.eye(5, dtype=torch.float64))
    means = torch.stack([inputs[labels == label].mean(0) for label in range(3)])
    assert torch.pdist(means).min() > 1
    assert not torch.equal(inputs, gaussian_mixture(3, 40, 5, variance=0.3, seed=2)["train"][0])
