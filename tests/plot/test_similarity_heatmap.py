from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from layerwise.errors import UnknownName
from layerwise.plot import similarity_heatmap


def similar(rows: int = 12, columns: int = 12, other: str = "vit") -> xr.Dataset:
    depth, beside = np.linspace(0, 1, rows), np.linspace(0, 1, columns)
    values = 0.05 + 0.95 * np.exp(-4 * np.abs(depth[:, None] - beside[None]))
    return xr.Dataset(
        {"cka": (("layer", "other_layer"), values, {"long_name": "linear centred kernel alignment", "units": "1"})},
        {
            "layer": [f"blocks.{place}" for place in range(rows)],
            "other_layer": [f"blocks.{place}" for place in range(columns)],
            "depth": ("layer", depth),
            "other_depth": ("other_layer", beside),
        },
        {"model": "vit", "other_model": other},
    )


def test_layers_run_upward_and_from_left_to_right_on_a_linear_scale_from_0_to_1():
    ds = similar(5, 7, other="tuned")
    ax = similarity_heatmap(ds)
    (mesh,) = ax.collections
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(5, 7), ds["cka"].values)
    assert ax.get_ylim()[0] < ax.get_ylim()[1]
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0.0, 1.0)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1", "2", "3", "4"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "2", "3", "4", "5", "6"]
    assert ax.get_title("left") == "cka, tuned from left to right"
    assert ax.get_ylabel() == "vit: layer (blocks.*)"


def test_a_dataset_without_similarity_is_refused():
    with pytest.raises(UnknownName, match="no metric 'cka'"):
        similarity_heatmap(similar().rename(cka="nc1"))


def test_pooling_is_in_the_title_or_beside_the_layers_of_each_network():
    ds = similar(3, 4, other="tuned").assign_coords(reduction=("layer", ["cls"] * 3))
    same = similarity_heatmap(ds.assign_coords(other_reduction=("other_layer", ["cls"] * 4)))
    assert same.get_title("left") == "cka, tuned from left to right, cls pooling"
    ax = similarity_heatmap(ds.assign_coords(other_reduction=("other_layer", ["mean"] * 4)))
    assert ax.get_ylabel().endswith("pooling: cls")
    assert ax.get_xlabel().endswith("pooling: mean")
