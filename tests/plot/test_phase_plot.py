import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from helpers.profiles import made_up
from matplotlib.axes import Axes

from layerwise.errors import SchemaMismatch, UnknownName
from layerwise.plot import phase_plot

ERROR = {"long_name": "error of the network itself", "units": "1", "direction": "down", "reference": ""}


def trained(errors: list[float], **options: int) -> xr.Dataset:
    """A profile with these training errors by epoch, and test errors of one half."""
    ds = made_up(epochs=len(errors), **options)
    both = np.stack([errors, np.full(len(errors), 0.5)], axis=1)[:, :, None]
    return ds.assign(network_error=(("epoch", "split", "target"), both, ERROR))


def path(ax: Axes) -> tuple[list[float], list[float]]:
    line = ax.get_lines()[0]
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def threshold(ax: Axes) -> tuple[float, float] | None:
    rings = [line for line in ax.get_lines() if line.get_marker() == "o"]
    return (rings[0].get_xdata()[0], rings[0].get_ydata()[0]) if rings else None


def test_points_follow_each_other_in_time_whatever_their_order():
    ds = trained([0.9, 0.5, 0.2])
    ax = phase_plot(ds.isel(epoch=[2, 0, 1]))
    x, y = path(ax)
    assert x == [0.9, 0.5, 0.2]
    np.testing.assert_array_equal(y, ds["nc1"].sel(split="train").isel(target=0, layer=-1))
    assert ax.collections[0].get_array().tolist() == [0, 1, 2]


def test_the_first_epoch_without_training_error_is_marked():
    ds = trained([0.9, 0.1, 0.0, 0.05, 0.0])
    ax = phase_plot(ds)
    assert threshold(ax) == (0.0, ds["nc1"].sel(split="train", epoch=2).isel(target=0, layer=-1).item())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["interpolation threshold, epoch 2"]


def test_without_a_threshold_there_is_no_mark():
    ax = phase_plot(trained([0.9, 0.1, 0.05]))
    assert threshold(ax) is None
    assert ax.get_legend() is None


def test_a_tolerance_moves_the_threshold():
    assert threshold(phase_plot(trained([0.9, 0.1, 0.05]), tolerance=0.1))[0] == 0.1


def test_zero_error_has_a_place_of_its_own_on_a_logarithmic_axis():
    ax = phase_plot(trained([0.9, 0.1, 0.003, 0.0]))
    assert ax.get_xscale() == "symlog"
    assert ax.get_xlim()[0] < 0
    ticks = ax.get_xticks()
    np.testing.assert_allclose(sorted(ticks), [0.0, 0.01, 0.1, 1.0])
    break_at = ax.get_lines()[1].get_xdata()[0]
    assert 0 < break_at < 0.003


def test_axes_are_logarithmic_only_where_decades_are_spanned():
    ax = phase_plot(trained([0.9, 0.5, 0.3]))
    assert ax.get_xscale() == "linear"
    assert ax.get_yscale() == "log"


def test_the_metric_is_of_the_chosen_split_and_the_error_of_the_training_split():
    ds = trained([0.9, 0.5, 0.2])
    x, y = path(phase_plot(ds, split="test"))
    assert x == [0.9, 0.5, 0.2]
    np.testing.assert_array_equal(y, ds["nc1"].sel(split="test").isel(target=0, layer=-1))


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["stem", "block", "features", "logits"], 2),
        (["block", "features", "block", "logits"], 1),
        (["stem", "block", "block", "logits"], 2),
    ],
)
def test_the_layer_is_the_last_features_by_default(roles: list[str], expected: int):
    ds = trained([0.9, 0.5], layers=4).assign_coords(role=("layer", roles))
    ax = phase_plot(ds)
    assert ds["layer"].values[expected] in ax.get_title("left")
    np.testing.assert_array_equal(path(ax)[1], ds["nc1"].sel(split="train").isel(target=0, layer=expected))


def test_a_layer_and_an_error_of_layers_can_be_chosen():
    ds = trained([0.9, 0.5])
    layer = str(ds["layer"].values[4])
    x, _ = path(phase_plot(ds, "stable_rank", error="ncc_error", layer=layer))
    np.testing.assert_array_equal(x, ds["ncc_error"].sel(split="train", layer=layer).isel(target=0))


def test_of_several_seeds_the_median_is_shown():
    ds = xr.concat([trained([0.9, 0.5], seed=seed) for seed in range(3)], "seed")
    ax = phase_plot(ds)
    np.testing.assert_array_equal(path(ax)[1], np.median(ds["nc1"].sel(split="train").isel(target=0, layer=-1), axis=0))
    assert "median of 3 seeds" in ax.get_title("left")


def test_epochs_without_a_number_are_left_out_and_none_at_all_says_so():
    ds = trained([0.9, np.nan, 0.2])
    assert path(phase_plot(ds))[0] == [0.9, 0.2]
    ax = phase_plot(ds.assign(network_error=ds["network_error"] * np.nan))
    assert [text.get_text() for text in ax.texts] == ["no finite values"]


def test_one_epoch_is_a_point_without_colour_bar():
    ax = phase_plot(trained([0.0]))
    assert len(path(ax)[0]) == 1
    assert threshold(ax) is not None
    assert len(ax.figure.axes) == 1
    width, height = ax.figure.get_size_inches()
    assert 3 < width <= 7
    assert height < 5


def test_unknown_labels_are_refused():
    ds = trained([0.9, 0.5])
    with pytest.raises(UnknownName, match=r"no layer 'encoder\.stages\.0\.blocks\.9'; nearest"):
        phase_plot(ds, layer="encoder.stages.0.blocks.9")
    with pytest.raises(UnknownName, match="no metric 'network_eror'"):
        phase_plot(ds, error="network_eror")
    with pytest.raises(SchemaMismatch, match="does not depend on 'epoch'"):
        phase_plot(ds.isel(epoch=0))


def test_the_callers_axes_are_drawn_on():
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    assert phase_plot(trained([0.9, 0.5, 0.0]), ax=right) is right
    assert not left.lines
    assert figure.get_size_inches().tolist() == [9, 3]
