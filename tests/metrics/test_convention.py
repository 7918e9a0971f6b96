"""A convention changes the metrics that `REACHES` names, and no other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.feature_cases import CASES
from helpers.measure import evidence_of
from helpers.networks import Perceptron, blobs

from layerwise import metrics
from layerwise.metrics.convention import CONVENTIONS, REACHES
from layerwise.profiling import profile

OTHER = {
    "global_mean": "samples",
    "within": "classes",
    "between": "samples",
    "divided": False,
    "rank": "classes",
    "ddof": 1,
    "shrinkage": "ledoit_wolf",
    "debiased": True,
}


def numbers(name: str, convention: metrics.Convention) -> dict[str, np.ndarray]:
    """Every metric of classes under a convention."""
    case = CASES[name]()
    features, labels = torch.from_numpy(case.features), torch.from_numpy(case.labels)
    classifier = np.random.default_rng(0).standard_normal((case.classes, features.shape[1]))
    evidence = evidence_of(features, labels, classifier=classifier, next_map=classifier, convention=convention)
    with np.errstate(all="ignore"):
        return {
            metric.name: np.asarray(metrics.compute(metric, evidence, case.classes))
            for metric in metrics.select()
            if "regression" not in metric.needs and set(metric.needs) <= set(evidence)
        }


@pytest.mark.parametrize("field", REACHES)
def test_a_field_changes_its_metrics_and_no_other(field):
    # With dependent class means the tolerance drops directions that the other rule keeps.
    case = "rank_deficient" if field == "rank" else "unequal_classes"
    usual, other = (numbers(case, replace(CONVENTIONS["default"], **own)) for own in ({}, {field: OTHER[field]}))
    changed = {name for name in usual if not np.allclose(usual[name], other[name], rtol=1e-9, equal_nan=True)}
    assert changed == set(REACHES[field])


def test_a_profile_names_the_metrics_that_its_convention_changes():
    asked = ["nc1", "cdnv", "h_score", "equinorm"]

    def told(convention: str) -> list[str] | None:
        attrs = profile(Perceptron(), [blobs(40)], metrics=asked, convention=convention).attrs
        return json.loads(attrs["convention_reaches"]) if "convention_reaches" in attrs else None

    assert told("papyan") == ["equinorm", "nc1"]
    assert told("ibrahim") == ["h_score"]
    assert told("default") is None
