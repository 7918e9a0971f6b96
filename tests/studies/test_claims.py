"""A claim holds when every value meets the bound."""

from __future__ import annotations

import numpy as np
import pytest

from layerwise.studies.frame.claim import claim, claims_table, measurement


@pytest.mark.parametrize(
    ("values", "relation", "held"),
    [
        ([1.0, 2.0], ">", False),
        ([1.1, 2.0], ">", True),
        ([1.0, 2.0], ">=", True),
        ([0.5, 1.0], "<", False),
        ([0.5, 1.0], "<=", True),
        ([2.0, np.nan], ">", False),
        ([], ">", False),
    ],
)
def test_a_claim_holds_only_if_every_value_meets_the_bound(values, relation, held):
    assert claim("it", values, relation, 1.0).held is held


def test_a_row_says_what_was_measured_its_spread_and_how_often_it_held():
    (row,) = claims_table([claim("R^2", np.array([[0.9], [1.0]]), ">", 0.95, control=True)])
    assert row == {
        "claim": "control: R^2",
        "measured": "0.95 ± 0.071",
        "range": "0.9 to 1",
        "bound": "> 0.95",
        "held": "NO (1/2)",
    }


@pytest.mark.parametrize("values", [[np.nan, 0.5, 1.0], [1.0, np.nan, 0.5]])
def test_what_is_not_defined_for_a_seed_hides_none_of_the_others(values):
    (row,) = claims_table([claim("end over threshold", values, "<", 2.0)])
    assert (row["measured"], row["range"], row["held"]) == ("0.75 ± 0.35 (2 of 3)", "0.5 to 1", "NO (2/3)")


def test_what_is_never_defined_is_said_to_be_so():
    (row,) = claims_table([claim("first block", [np.nan, np.nan], "<", 2.0)])
    assert (row["measured"], row["range"], row["held"]) == ("not defined", "-", "NO (0/2)")


def test_a_measurement_is_told_and_not_judged():
    item = measurement("depth of the best layer", [0.5, 0.7])
    (row,) = claims_table([item])
    assert (row["measured"], row["bound"], row["held"]) == ("0.6 ± 0.14", "-", "-")
    assert not item.judged
    assert claim("it", [1.0], "<", 2.0).judged
