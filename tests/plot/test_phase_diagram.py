"""A phase diagram shows every value where its parameters are, and the boundary in their units."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from layerwise.errors import SchemaMismatch
from layerwise.plot import phase_diagram

ACROSS, UP = np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.2])


@pytest.fixture
def grid() -> xr.DataArray:
    values = np.array([[0.0, 0.5, np.nan], [1.0, 2.0, 3.0]])
    axes = {"strength": ("strength", UP, {"long_name": "weight decay"}), "ratio": ("ratio", ACROSS)}
    return xr.DataArray(values, axes, ["strength", "ratio"], "gap", {"long_name": "gap of twins"})


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_every_value_stands_at_its_parameters_and_what_is_missing_stays_open(grid):
    ax = phase_diagram(grid)
    (mesh,) = ax.collections
    np.testing.assert_array_equal(np.ma.filled(mesh.get_array(), np.nan), grid.values)
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [0.5, 1.5, 3.0, 5.0])
    np.testing.assert_allclose(corners[:, 0, 1], [0.05, 0.15, 0.25])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("ratio", "weight decay")
    assert mesh.get_clim() == (0.0, 3.0)
    assert ax.figure.axes[1].get_ylabel() == "gap of twins"


def test_the_boundary_is_in_the_units_of_the_axes(grid):
    boundary = xr.DataArray([0.2, 0.1], {"ratio": [1.0, 3.0]}, ["ratio"])
    for line in phase_diagram(grid, boundary).lines:
        np.testing.assert_array_equal(line.get_xydata(), [[1.0, 0.2], [3.0, 0.1]])


def test_two_diagrams_share_a_scale_and_one_bar(grid):
    _, (left, right) = plt.subplots(1, 2)
    for ax, bar in ((left, False), (right, True)):
        phase_diagram(grid, scale=(0, 10), bar=bar, ax=ax)
        assert ax.collections[0].get_clim() == (0, 10)
    assert len(left.figure.axes) == 3


def test_what_is_no_diagram_is_one_clear_error(grid):
    with pytest.raises(SchemaMismatch, match=r"two dims, and gap has \['ratio'\]"):
        phase_diagram(grid.isel(strength=0))
    with pytest.raises(SchemaMismatch, match=r"a boundary is over 'ratio' alone"):
        phase_diagram(grid, xr.DataArray([0.1, 0.2], {"strength": UP}, ["strength"]))
