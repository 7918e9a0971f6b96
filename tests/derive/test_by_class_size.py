import numpy as np
import pytest
import xarray as xr
from helpers.derived_cases import nan
from helpers.profiles import made_up

from layerwise.derive import by_class_size, interval
from layerwise.errors import InvalidData, UnknownName
from layerwise.schema import JACKKNIFE


def unequal() -> xr.Dataset:
    ds = made_up(epochs=2, classes=5)
    counts = np.array([100, 60, 20, 5, nan])
    shape = ds["class_variance"].shape
    ds["class_count"] = ds["class_variance"].copy(data=np.broadcast_to(counts, shape).copy())
    # The sizes of the training split decide, whatever the test split has.
    ds["class_count"][:, 1] = 7.0
    return ds


def test_groups_average_their_classes():
    ds = unequal()
    found = by_class_size(ds)
    assert found["group"].values.tolist() == ["minority", "majority"]
    assert found["classes"].isel(target=0).values.tolist() == [2, 2]
    variance = ds["class_variance"]
    assert found["class_variance"].dims == ("epoch", "split", "target", "layer", "group")
    for group, classes in (("minority", [2, 3]), ("majority", [0, 1])):
        own = found["class_variance"].sel(group=group, drop=True)
        np.testing.assert_allclose(own, variance.isel({"class": classes}).mean("class"))
    assert "depth" in found.coords


def test_standard_error_is_that_of_the_average():
    ds = unequal()
    said = {**ds["class_variance"].attrs, "reference": JACKKNIFE}
    ds["class_variance_se"] = xr.full_like(ds["class_variance"], 3.0).assign_attrs(said)
    ds["class_variance_bias"] = xr.full_like(ds["class_variance"], -2.0)
    found = by_class_size(ds.assign_attrs(jackknife=10))
    np.testing.assert_allclose(found["class_variance_se"], 3.0 / np.sqrt(2))
    np.testing.assert_allclose(found["class_variance_bias"], -2.0)
    ends = interval(found, "class_variance")
    np.testing.assert_allclose(ends["high"] - found["class_variance"], 2.0 + 2.2622 * 3.0 / np.sqrt(2), rtol=1e-4)
    assert by_class_size(ds, edges=(1,))["class_variance_se"].sel(group="below 1").isnull().all()


def test_edges_make_the_groups_of_long_tailed_recognition():
    found = by_class_size(unequal(), edges=(20, 100))
    assert found["group"].values.tolist() == ["below 20", "20 to 100", "100 and above"]
    assert found["classes"].isel(target=0).values.tolist() == [1, 2, 1]


def test_a_group_without_classes_is_nan():
    found = by_class_size(unequal(), edges=(1,))
    assert found["class_variance"].sel(group="below 1").isnull().all()


def test_missing_sizes_and_bad_edges_are_refused():
    with pytest.raises(UnknownName, match="class_count"):
        by_class_size(made_up())
    with pytest.raises(InvalidData, match="ascend"):
        by_class_size(unequal(), edges=(100, 20))
