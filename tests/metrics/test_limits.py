"""A metric is NaN with too few samples for it to depend on more than their number."""

from __future__ import annotations

import json
import logging
import warnings

import pytest
import torch
from helpers.networks import Perceptron, blobs, loader
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from layerwise import effective_depth
from layerwise.metrics import get, list_metrics
from layerwise.profiling import Profiler, profile
from layerwise.settings import Settings

#: The metrics that compare the scatter within classes with that between them.
WITHIN = ["nc1", "nc1_trace", "cdnv", "separation", "vci", "h_score", "ncc_error", "ncc_mismatch", "class_ncc_error"]
FITTED = ["probe_error", "vci", "h_score", "linear_mse", "linear_r2"]


def noise(samples: int, classes: int, width: int = 8) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, classes)).eval()
    return network, [(torch.randn(samples, width), torch.arange(samples) % classes)]


def told(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


def test_the_registry_marks_metrics_that_need_samples():
    assert {name for name in list_metrics() if get(name).within} == set(WITHIN)
    assert {name for name in list_metrics() if get(name).fitted != "never"} == set(FITTED)


class TestOneSampleOfEveryClass:
    @pytest.mark.parametrize("options", [{}, {"classes": 40}, {"debiased": True}, {"convention": "papyan"}])
    def test_is_nan_for_scatter_within_classes(self, options):
        network, data = noise(40, 40)
        ds = profile(network, data, **options)
        for name in WITHIN:
            assert ds[name].isnull().all(), name
        assert effective_depth(ds).isnull().all()
        for name in ("etf_error", "equinorm", "class_count", "stable_rank", "feature_norm"):
            assert ds[name].notnull().all(), name

    def test_is_enough_where_other_samples_are_judged(self):
        network, data = noise(40, 40)
        ds = profile(network, {"train": data, "test": [(data[0][0] + 0.01, data[0][1])]}, classes=40)
        assert ds["ncc_error"].sel(split="train").isnull().all()
        assert ds["ncc_error"].sel(split="test").notnull().all()
        assert ds["nc1"].sel(split="test").isnull().all()

    @given(st.integers(1, 39))
    @settings(max_examples=5, deadline=None)
    def test_in_all_but_one_class_is_enough(self, label):
        network, data = noise(40, 40)
        inputs, labels = torch.cat([data[0][0], torch.randn(1, 8)]), torch.cat([data[0][1], torch.tensor([label])])
        ds = profile(network, [(inputs, labels)], classes=40, metrics=["nc1", "ncc_error"])
        assert ds["nc1"].notnull().all()
        assert ds["ncc_error"].notnull().all()

    def test_is_the_same_without_a_group_and_under_shuffled_labels(self):
        network, data = noise(80, 40)
        ds = profile(network, data, classes=40, jackknife=2, null=3, metrics=["nc1", "ncc_error"])
        assert ds["nc1"].notnull().all()
        # Without one of two groups no class has two samples.
        assert ds["nc1_se"].isnull().all()
        assert ds["nc1_null"].notnull().all()
        alone = profile(*noise(40, 40), null=3, metrics=["nc1", "ncc_error"])
        assert alone["nc1_null"].isnull().all()
        assert alone["ncc_error_null"].isnull().all()


class TestNoMoreSamplesThanFeatures:
    @pytest.mark.parametrize(("samples", "known"), [(15, False), (16, False), (17, True)])
    def test_make_a_fit_nan(self, samples, known):
        network, data = noise(samples, 3)
        names = ["probe_error", "vci", "h_score", "nc1", "logme"]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ds = profile(network, data, metrics=names)
        wide = ds.isel(layer=[layer for layer, width in enumerate(ds["features"].values) if width == 16])
        for name in ("probe_error", "vci", "h_score"):
            assert bool(wide[name].notnull().all()) is known, name
            assert ds[name].isel(layer=-1).notnull().all(), name
        assert wide["nc1"].notnull().all()
        assert wide["logme"].notnull().all()
        messages = [str(item.message) for item in caught]
        assert len(messages) == (0 if known else 1)
        if not known:
            assert "probe_error, vci, h_score: NaN in" in messages[0]
            assert set(json.loads(ds.attrs["empty_fits"])["train"]["vci"]) == set(wide["layer"].values)

    def test_make_a_regression_fit_nan(self):
        network, data = noise(16, 3)
        inputs = data[0][0]
        with pytest.warns(UserWarning, match="linear_mse, linear_r2: NaN"):
            ds = profile(network, [(inputs, inputs[:, :2])], metrics=["linear_mse", "linear_r2", "nrc1"])
        assert ds["linear_r2"].isel(layer=0).isnull().all()
        assert ds["linear_r2"].isel(layer=-1).notnull().all()
        assert ds["nrc1"].notnull().all()

    def test_are_enough_for_a_split_that_is_judged_by_train(self):
        network, data = noise(60, 3)
        few = [(data[0][0][:12], data[0][1][:12])]
        with pytest.warns(UserWarning, match="split 'test'"):
            ds = profile(network, {"train": data, "test": few}, metrics=["probe_error", "vci"])
        assert ds["probe_error"].notnull().all()
        assert ds["vci"].sel(split="train").notnull().all()
        assert ds["vci"].sel(split="test").isel(layer=0).isnull().all()

    def test_are_enough_for_a_covariance_that_is_shrunk(self):
        network, data = noise(16, 3)
        assert profile(network, data, metrics=["h_score"], convention="ibrahim")["h_score"].notnull().all()

    def test_leave_no_standard_error_where_they_are_so_few_without_a_group(self):
        network, data = noise(18, 3)
        ds = profile(network, data, metrics=["vci"], jackknife=3)
        assert ds["vci"].notnull().all()
        assert ds["vci_se"].isel(layer=0).isnull().all()
        assert ds["vci_se"].isel(layer=-1).notnull().all()

    def test_are_logged_once_where_nobody_asked_for_a_fit(self, caplog):
        network, data = noise(12, 3)
        profiler = Profiler(network, data, settings=Settings())
        for epoch in range(3):
            profiler.measure(epoch)
        assert len(told(caplog, "explains any labels")) == 1


class TestSmallClasses:
    def test_the_least_one_is_named_in_a_line_and_an_attribute(self, caplog):
        inputs, labels = blobs(90)
        labels[labels == 2] = 7
        kept = (labels != 7) | (torch.arange(90) < 20)
        caplog.set_level(logging.WARNING, logger="layerwise")
        ds = profile(Perceptron(), loader(inputs[kept], labels[kept]), metrics="nc1")
        lines = told(caplog, "with fewer than 20")
        assert len(lines) == 1
        assert "split 'train' has 6 samples of class 7 of target 'label'" in lines[0]
        assert json.loads(ds.attrs["few_samples"]) == {"train": {"label": ["7", 6]}}

    def test_are_warned_of_where_a_fit_is_named(self, caplog):
        profile(Perceptron(), loader(*blobs(30)), metrics="nc1", classes=["cat", "dog", "owl"])
        assert "10 samples of class cat" in told(caplog, "with fewer than 20")[0]

    def test_of_20_samples_are_not_mentioned(self, caplog):
        ds = profile(Perceptron(), loader(*blobs(60)), metrics="nc1")
        assert not told(caplog, "with fewer than 20")
        assert "few_samples" not in ds.attrs
