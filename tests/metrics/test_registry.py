"""The registry: what a metric declares, how metrics are chosen, and when a metric has no value."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from helpers.measure import moments_of

from layerwise.errors import InvalidData, UnknownName
from layerwise.metrics import CONVENTIONS, compute, get, list_metrics, metric, needs_of, select
from layerwise.metrics.bibliography import works_of


@pytest.mark.parametrize("name", list_metrics())
def test_a_docstring_has_formula_range_and_sources(name):
    doc = get(name).function.__doc__
    range_ = doc.partition("Returns\n")[2]
    assert re.search(r"In ``[\[(].*[\])]``", range_), "no range"
    assert re.search(r"collapse|[Ss]tandard error|``-1/\(C-1\)``", doc), "no direction"
    assert all(work.identifier in doc for work in works_of(get(name).variable.reference))


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("nc1", ["nc1"]),
        ("nc1*", ["nc1", "nc1_trace"]),
        (["nc1_trace", "nc1"], ["nc1", "nc1_trace"]),
        ("geometric_complexity", ["geometric_complexity", "geometric_complexity_se"]),
    ],
)
def test_select_keeps_the_order_of_registration(chosen, names):
    assert [metric.name for metric in select(chosen)] == names


def test_costly_metrics_are_measured_by_name_only():
    default = {metric.name for metric in select()}
    assert default == {metric.name for metric in select("*")}
    assert {metric.name for metric in select("geometric_*")} == set(list_metrics("geometric_*"))
    assert default.isdisjoint(list_metrics("geometric_*"))


def test_an_unknown_metric_is_an_error_with_the_nearest_name():
    with pytest.raises(UnknownName, match="nc1_trace"):
        select(["nc1", "nc1_trase"])


def test_a_parameter_that_is_no_statistic_is_refused():
    def odd(momentum):
        return momentum

    with pytest.raises(UnknownName, match="moments"):
        metric("odd", direction="down")(odd)
    assert not list_metrics("odd")


def test_a_name_of_another_module_is_refused():
    def nc1(moments):
        return moments

    with pytest.raises(InvalidData, match="nc1"):
        metric("another", direction="down")(nc1)


def test_a_convention_adds_the_statistics_that_it_corrects():
    nc1, h_score = [get("nc1")], [get("h_score")]
    assert "fourth" in needs_of(h_score, CONVENTIONS["ibrahim"])
    assert "fourth" not in needs_of(nc1, CONVENTIONS["ibrahim"]) | needs_of(h_score, CONVENTIONS["default"])


@pytest.mark.parametrize(("name", "shape"), [("nc1_trace", ()), ("class_variance", (4,))])
def test_a_missing_statistic_is_nan_in_the_shape_of_the_metric(name, shape):
    value = compute(get(name), {"moments": None, "convention": CONVENTIONS["default"]}, 4)
    assert value.shape == shape
    assert np.isnan(value).all()


def test_an_absent_class_is_nan_in_a_value_for_each_class():
    features, labels = torch.tensor([[0.0, 1.0], [2.0, 1.0], [5.0, 1.0]]), torch.tensor([0, 0, 2])
    evidence = {"moments": moments_of([(features, labels)], 4).finish()}
    np.testing.assert_allclose(compute(get("class_variance"), evidence, 4), [1.0, np.nan, 0.0, np.nan])


def test_too_few_classes_have_no_value():
    features, labels = torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([1, 1])
    evidence = {"moments": moments_of([(features, labels)], 2).finish(), "convention": CONVENTIONS["default"]}
    assert np.isnan(compute(get("nc1_trace"), evidence, 2))
    assert compute(get("feature_norm"), evidence, 2) > 0
