"""As many classes as samples are an index, and no profile leaves with its numbers; declared classes are believed."""

from __future__ import annotations

import warnings

import pytest
import torch
from helpers.networks import Perceptron, blobs, loader
from torch import Tensor

from layerwise.errors import InvalidLabels
from layerwise.profiling import profile


def indexed(samples: int = 60, start: int = 0) -> tuple[Tensor, Tensor]:
    return blobs(samples)[0], torch.arange(start, start + samples)


@pytest.mark.parametrize("size", [1, 7, 60])
@pytest.mark.parametrize("order", [lambda labels: labels, lambda labels: labels.flip(0), lambda labels: 7 * labels + 5])
def test_an_index_is_refused_however_it_comes(size, order):
    inputs, labels = indexed()
    with pytest.raises(InvalidLabels, match=r"60 classes of target 'label' in 60 samples: either .* an index"):
        profile(Perceptron(), loader(inputs, order(labels), size), metrics="nc1")


def test_an_index_that_goes_on_in_another_split_is_refused():
    train, test = loader(*indexed()), loader(*indexed(30, start=60))
    with pytest.raises(InvalidLabels, match="split 'train' has 60 classes"):
        profile(Perceptron(), {"train": train, "test": test}, metrics="nc1")
    with pytest.raises(InvalidLabels, match="split 'test' has 30 classes"):
        profile(Perceptron(), {"train": loader(*blobs()), "test": test}, metrics="nc1")


def test_a_few_samples_of_known_classes_are_no_index():
    few = blobs(3, seed=1)
    ds = profile(Perceptron(classes=7), {"train": loader(*blobs()), "test": [few]}, metrics="ncc_error")
    assert ds["ncc_error"].notnull().all()


@pytest.mark.parametrize("options", [{"jackknife": 3}, {"null": 3}, {"metrics": "nc1_trace"}])
def test_an_index_is_refused_whatever_is_measured(options):
    with pytest.raises(InvalidLabels, match="an index"):
        profile(Perceptron(), loader(*indexed()), **options)


def test_one_of_two_targets_may_be_the_index():
    inputs, labels = blobs()
    with pytest.raises(InvalidLabels, match="classes of target 'number' in 60"):
        profile(Perceptron(), [(inputs, {"label": labels, "number": torch.arange(60)})], metrics="nc1")


@pytest.mark.parametrize("classes", [31, 59])
def test_more_than_half_as_many_are_warned_of(classes):
    inputs, labels = blobs(60, classes=classes)
    with pytest.warns(UserWarning, match=f"{classes} classes of target 'label' in 60 samples; if"):
        profile(Perceptron(), loader(inputs, labels), metrics="etf_error")


@pytest.mark.parametrize(("classes", "options"), [(60, {"classes": 60}), (40, {"classes": 40}), (30, {})])
def test_declared_classes_and_fewer_are_not(classes, options):
    inputs, labels = blobs(60, classes=classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = profile(Perceptron(), loader(inputs, labels), metrics="etf_error", **options)
    assert ds["etf_error"].notnull().all()


def test_a_score_of_the_network_for_every_label_makes_them_classes():
    ds = profile(Perceptron(classes=60), loader(*indexed()), metrics=["nc1", "etf_error"])
    assert ds["nc1"].isnull().all()
    assert ds["etf_error"].notnull().all()
    with pytest.raises(InvalidLabels, match="an index"):
        profile(Perceptron(classes=60), loader(*indexed(start=1000)), metrics="nc1")
