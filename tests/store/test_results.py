"""Results are Datasets of any dims, kept beside runs and never taken for one."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from layerwise.errors import UnknownName
from layerwise.store import InvalidRun, open_store

RESULT = xr.Dataset(
    {"gap": (("penalty", "part"), np.array([[1.0, np.nan], [3.0, 4.0]])), "seconds": 2.5},
    {"penalty": [0.1, 0.2], "part": ["loss", "gradient"]},
    {"study": "own", "size": 3},
)


def test_a_result_comes_back_as_it_was_and_is_no_run(tmp_path):
    open_store(tmp_path / "s.lw").keep_result(RESULT, "own/seed0/result")
    store = open_store(tmp_path / "s.lw", create=False)
    xr.testing.assert_identical(store.result("own/seed0/result"), RESULT)
    assert store.runs() == []
    assert store.has_result("own/seed0/result")
    assert not store.has_result("own/seed0")
    with pytest.raises(UnknownName, match="no result 'own'"):
        store.result("own")


def test_a_result_is_replaced_whole():
    store = open_store("memory://")
    store.keep_result(RESULT, "own")
    store.keep_result(RESULT[["seconds"]], "own")
    assert list(store.result("own").data_vars) == ["seconds"]


def test_a_result_that_was_made_of_profiles_is_no_run_either():
    store = open_store("memory://")
    made = RESULT.assign_attrs(layerwise_schema=1)
    store.keep_result(made, "own")
    assert store.runs() == []
    xr.testing.assert_identical(store.result("own"), made)


def test_a_result_cannot_have_a_name_that_no_run_can():
    with pytest.raises(InvalidRun):
        open_store("memory://").keep_result(RESULT, "own//x")
