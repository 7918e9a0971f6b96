from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers.derived_cases import in_groups
from helpers.profiles import made_up

from layerwise.derive import compare, effective_depth, interval, monotonicity, onset, separation_law
from layerwise.store import open_store


def test_lazy_runs_of_a_store_give_the_same_and_are_stored_again(tmp_path: Path):
    store = open_store(tmp_path / "runs.lw")
    given = {"a": made_up(epochs=3, seed=1), "b": made_up(epochs=3, seed=2)}
    for run, ds in given.items():
        store.write(ds.assign(separation=np.log10(ds["nc1"]).assign_attrs(ds["nc1"].attrs)), run=run)
    a, b = store["a"], store["b"]
    np.testing.assert_array_equal(effective_depth(a, 0.3), effective_depth(given["a"], 0.3))
    np.testing.assert_array_equal(monotonicity(a, "nc1"), monotonicity(given["a"], "nc1"))
    np.testing.assert_array_equal(onset(a, "nc1", 0.1), onset(given["a"], "nc1", 0.1))
    store.write(compare(a, b), run="difference")
    xr.testing.assert_equal(store["difference"]["nc1"].load(), compare(given["a"], given["b"])["nc1"])


@pytest.mark.parametrize(
    "derived",
    [
        lambda ds: effective_depth(ds).to_dataset(),
        lambda ds: separation_law(ds.rename(nc1="separation")),
        lambda ds: monotonicity(ds, "nc1").to_dataset(),
        lambda ds: onset(ds, "nc1", 0.1).to_dataset(),
        lambda ds: compare(ds, ds),
        lambda ds: interval(in_groups(ds), "nc1"),
    ],
)
def test_results_have_attributes_and_survive_a_file(derived, tmp_path: Path):
    pytest.importorskip("h5netcdf")
    result = derived(made_up(epochs=2))
    for array in result.data_vars.values():
        assert {"long_name", "units", "direction", "reference"} <= set(array.attrs)
    result.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "result.nc", engine="h5netcdf") as read:
        xr.testing.assert_equal(read.load(), result)
