"""The distance of class means from a frame: its oracle, its laws, and how a caller asks for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import oracle
from helpers.feature_cases import CASES
from helpers.measure import evidence_of, tensors, value
from hypothesis import given, settings
from hypothesis import strategies as st

import layerwise as lw
from layerwise.errors import InvalidData, UnknownName
from layerwise.metrics import list_metrics
from layerwise.theory import Frame, predict
from layerwise.theory.frames import as_frame, orthogonal_frame_gram, random_frame, simplex_etf_gram


def wishart(classes: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((classes, classes + 1))
    return vectors @ vectors.T


def measured(features: np.ndarray, labels: np.ndarray, frame: Frame) -> float:
    evidence = evidence_of(*tensors(features, labels, torch.float64))
    return float(value("frame_distance", {**evidence, "frame": frame}))


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("gram_of", [lambda k: wishart(k, 1), simplex_etf_gram, lambda k: np.diag(np.arange(k) + 1.0)])
def test_the_distance_equals_the_oracle(case, gram_of):
    features, labels = CASES[case]().features, CASES[case]().labels
    gram = gram_of(max(int(labels.max()) + 1, 2))
    expected = oracle.frame_distance(features, labels, gram) if len(np.unique(labels)) > 1 else np.nan
    np.testing.assert_allclose(measured(features, labels, Frame(gram)), expected, rtol=1e-6, atol=1e-13)


def test_a_named_frame_equals_the_metric_of_its_name():
    case = CASES["absent_class"]()
    classes = int(case.labels.max()) + 1
    for name, error in (("etf", oracle.etf_error), ("orthogonal", oracle.orthogonality_error)):
        expected = error(case.features, case.labels)
        assert measured(case.features, case.labels, as_frame(name, classes)) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10**6), st.floats(1e-3, 1e3), st.booleans())
def test_rotation_and_scale_of_a_frame_change_nothing(classes, seed, scale, centred):
    gram = wishart(classes, seed)
    if centred:
        gram = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    generator = np.random.default_rng(seed)
    means = scale * random_frame(gram, classes + 3, generator)
    # A centred frame does not fix the offset of all features.
    offset = scale * generator.standard_normal(classes + 3) if centred else 0.0
    features, labels = np.repeat(means + offset, 3, axis=0), np.repeat(np.arange(classes), 3)
    assert measured(features, labels, Frame(gram)) < 1e-6
    other = Frame(wishart(classes, seed + 1))
    assert 0 < measured(features, labels, other) <= np.sqrt(2)


@pytest.fixture(scope="module")
def network_and_data():
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(60, 8, generator=generator), torch.arange(60) % 3
    network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    return network, [(inputs, labels)]


def test_a_profile_measures_the_predicted_frame_at_every_layer(network_and_data):
    frame = predict([400, 100, 25], 5e-3, 5e-4, relu=True)
    ds = lw.profile(*network_and_data, frame=frame, layers="leaves")
    assert ds["frame_distance"].dims == ("epoch", "split", "target", "layer")
    assert bool(np.isfinite(ds["frame_distance"]).all())
    assert "general orthogonal frame" in ds.attrs["frame"]
    same = lw.profile(*network_and_data, frame=frame.gram, layers="leaves", metrics="frame_distance")
    np.testing.assert_array_equal(ds["frame_distance"], same["frame_distance"])


def test_a_named_frame_is_compared_at_every_target(network_and_data):
    network, [(inputs, labels)] = network_and_data
    both = [(inputs, {"fine": labels, "coarse": labels.clamp(max=1)})]
    ds = lw.profile(network, both, frame="etf", metrics=["frame_distance", "etf_error"])
    np.testing.assert_allclose(ds["frame_distance"], ds["etf_error"], rtol=1e-9, atol=1e-12)
    only = lw.profile(network, both, frame={"fine": np.eye(3)}, metrics=["frame_distance", "orthogonality_error"])
    apart = only["frame_distance"] - only["orthogonality_error"]
    assert float(np.abs(apart.sel(target="fine")).max()) < 1e-12
    assert bool(np.isnan(apart.sel(target="coarse")).all())


def test_without_a_frame_asking_for_the_distance_is_an_error(network_and_data):
    assert "frame_distance" in list_metrics()
    assert "frame_distance" not in lw.profile(*network_and_data, metrics="*")
    with pytest.raises(InvalidData, match=r"give frame='etf'.*layerwise\.theory\.predict"):
        lw.profile(*network_and_data, metrics="frame_distance")


@pytest.mark.parametrize(
    ("frame", "error", "told"),
    [
        ("simplex", UnknownName, "etf"),
        (np.eye(2), InvalidData, "2 vectors, and there are 3 classes"),
        (np.zeros((3, 3)), InvalidData, "all vectors of the frame are zero"),
        (np.ones((3, 2)), InvalidData, r"of shape \(3, 2\)"),
        (np.diag([1.0, 1.0, -1.0]), InvalidData, "eigenvalues"),
        ({"labels": "etf"}, UnknownName, "label"),
    ],
)
def test_an_impossible_frame_is_refused_before_the_data_is_run(network_and_data, frame, error, told):
    with pytest.raises(error, match=told):
        lw.profile(*network_and_data, frame=frame, classes=3)


def test_a_frame_has_the_name_of_the_field():
    assert Frame(simplex_etf_gram(5, 3.0)).name == "simplex ETF"
    assert Frame(np.eye(4) * 2).name == "orthogonal frame"
    assert Frame(orthogonal_frame_gram([1, 0.5, 0])).name == "general orthogonal frame"
    assert Frame(wishart(4, 0)).name == "frame"
