import numpy as np
import pytest
import xarray as xr
from helpers.derived_cases import nan, over_layers
from helpers.profiles import made_up

from layerwise.derive import onset
from layerwise.errors import InvalidData, SchemaMismatch
from layerwise.plot import depth_curve


def test_onset_is_the_first_epoch_at_or_beyond_the_level():
    rows = [[5.0, 5.0, nan, 5.0], [0.5, 3.0, nan, nan], [2.0, 1.0, nan, 0.1]]
    ds = over_layers("nc1", rows).assign_coords(epoch=[0, 10, 40])
    assert onset(ds, "nc1", 1.0).squeeze().values.tolist()[:2] == [10.0, 40.0]
    np.testing.assert_equal(onset(ds, "nc1", 1.0).squeeze().values, [10.0, 40.0, nan, 40.0])


def test_onset_follows_the_direction_of_collapse():
    ds = over_layers("vci", [[0.1, 0.9], [0.8, 0.1]])
    ds["vci"].attrs["direction"] = "up"
    np.testing.assert_array_equal(onset(ds, "vci", 0.8).squeeze(), [1.0, 0.0])


def test_a_single_epoch_is_the_onset_or_nan():
    np.testing.assert_equal(onset(over_layers("nc1", [2.0, 0.5]), "nc1", 1.0).squeeze().values, [nan, 0.0])


def test_the_order_of_epochs_changes_no_onset():
    ds = over_layers("nc1", [[5.0], [0.5], [0.4]])
    assert onset(ds.isel(epoch=[2, 0, 1]), "nc1", 1.0).item() == 1.0


def test_onset_of_zero_network_error_is_the_interpolation_threshold():
    error = xr.DataArray([[0.5, 0.6], [0.0, 0.3], [0.1, 0.2]], dims=("epoch", "split"), attrs={"direction": "down"})
    ds = made_up(epochs=3).assign(network_error=error)
    np.testing.assert_equal(onset(ds, "network_error", 0.0).values, [1.0, nan])


def test_onset_is_drawn_over_depth():
    ds = made_up(epochs=5)
    found = onset(ds, "nc1", 1.0)
    ax = depth_curve(ds.assign({str(found.name): found}), "nc1_onset")
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), found.sel(split="train").squeeze())


def test_metrics_without_direction_or_epochs_are_refused():
    ds = made_up()
    ds["nc1"].attrs["direction"] = "none"
    with pytest.raises(InvalidData, match="no direction of collapse"):
        onset(ds, "nc1", 1.0)
    with pytest.raises(SchemaMismatch, match="does not depend on 'epoch'"):
        onset(made_up().isel(epoch=0), "nc1", 1.0)
