import numpy as np
import pytest
import xarray as xr
from helpers.profiles import made_up

from layerwise.errors import SchemaMismatch, UnknownName
from layerwise.plot import epoch_heatmap


def test_epochs_run_upward_over_layers():
    ds = made_up(epochs=4, layers=7).assign_coords(epoch=[0, 1, 10, 100])
    ax = epoch_heatmap(ds, "nc1", split="test")
    drawn = ax.collections[0].get_array().reshape(4, 7)
    np.testing.assert_array_equal(drawn, ds["nc1"].sel(split="test", target="label").values)
    assert ax.get_ylim() == (-0.5, 3.5)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1", "10", "100"]
    assert ax.get_title("left") == "nc1, test"


def test_many_epochs_are_labelled_sparsely_each_at_its_row():
    ax = epoch_heatmap(made_up(epochs=100, layers=3), "nc1")
    labels = [int(label.get_text()) for label in ax.get_yticklabels()]
    assert labels == ax.get_yticks().tolist()
    assert 5 < len(labels) < 30


def test_the_median_over_seeds_is_shown():
    ds = xr.concat([made_up(epochs=2, seed=seed) for seed in range(3)], "seed")
    ax = epoch_heatmap(ds, "stable_rank")
    np.testing.assert_array_equal(
        ax.collections[0].get_array().reshape(2, 12), np.median(ds["stable_rank"].sel(split="train"), axis=0)
    )
    assert ax.get_title("left") == "stable_rank, train, median of 3 seeds"


def test_a_metric_without_epochs_is_refused():
    with pytest.raises(SchemaMismatch, match="does not depend on 'epoch'"):
        epoch_heatmap(made_up().isel(epoch=0), "nc1")


def test_a_per_class_metric_is_sent_to_its_own_plot():
    with pytest.raises(UnknownName, match="class_heatmap"):
        epoch_heatmap(made_up(), "class_variance")
