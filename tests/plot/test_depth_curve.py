import numpy as np
import pytest
import xarray as xr
from helpers.profiles import made_up
from matplotlib.axes import Axes

from layerwise.errors import SchemaMismatch, UnknownName
from layerwise.plot import depth_curve
from layerwise.schema import JACKKNIFE


def lines(ax: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata()) for line in ax.get_lines()}


def band(ax: Axes, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    points = ax.collections[number].get_paths()[0].vertices
    columns = [points[points[:, 0] == x, 1] for x in np.unique(points[:, 0])]
    return np.array([column.min() for column in columns]), np.array([column.max() for column in columns])


def test_each_split_is_a_line():
    ds = made_up(epochs=2)
    ax = depth_curve(ds, "nc1")
    drawn = lines(ax)
    assert list(drawn) == ["train", "test"]
    for split, values in drawn.items():
        np.testing.assert_array_equal(values, ds["nc1"].isel(epoch=1, target=0).sel(split=split))
    assert ax.get_title("left") == "nc1, epoch 1"
    assert r"$\downarrow$ collapse" in ax.get_ylabel()


def test_each_target_is_a_line():
    ds = made_up(targets=("fine", "coarse"))
    drawn = lines(depth_curve(ds, "nc1", hue="target", split="test"))
    for target, values in drawn.items():
        np.testing.assert_array_equal(values, ds["nc1"].isel(epoch=0).sel(split="test", target=target))


def test_each_epoch_is_a_line_and_the_legend_stays_short():
    ax = depth_curve(made_up(epochs=100), "nc1", hue="epoch")
    assert len(ax.get_lines()) == 100
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "20", "40", "60", "80"]


def test_runs_of_different_networks_are_lines_over_depth():
    runs = {"deep": made_up(layers=9), "shallow": made_up(layers=3)}
    ax = depth_curve(runs, "nc1")
    assert list(lines(ax)) == ["deep", "shallow"]
    for line, ds in zip(ax.get_lines(), runs.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), ds["depth"].values)
    assert "depth" in ax.get_xlabel()


def test_few_layers_are_named_and_many_are_depth():
    assert [label.get_text() for label in depth_curve(made_up(layers=3), "nc1").get_xticklabels()] == list("012")
    assert "depth" in depth_curve(made_up(layers=60), "nc1").get_xlabel()


def test_over_seeds_the_line_is_the_median_and_the_band_the_range():
    ds = xr.concat([made_up(seed=seed) for seed in range(5)], "seed")
    ax = depth_curve(ds, "stable_rank")
    values = ds["stable_rank"].isel(epoch=0).sel(split="train").values
    np.testing.assert_array_equal(lines(ax)["train"], np.median(values, axis=0))
    low, high = band(ax)
    np.testing.assert_allclose(low, values.min(axis=0))
    np.testing.assert_allclose(high, values.max(axis=0))
    assert "median and range of 5 seeds" in ax.get_title("left")


def test_with_hue_run_each_seed_is_a_line():
    ds = xr.concat([made_up(seed=seed) for seed in range(3)], "seed").assign_coords(seed=[4, 5, 6])
    assert list(lines(depth_curve(ds, "nc1", hue="run"))) == ["seed 4", "seed 5", "seed 6"]


def test_the_interval_of_a_profile_in_groups_is_the_band():
    ds = made_up()
    ds["nc1_se"] = (0.1 * ds["nc1"]).assign_attrs(reference=JACKKNIFE)
    ds["nc1_bias"] = -0.5 * ds["nc1"]
    ds = ds.isel(layer=slice(None, None, -1)).assign_attrs(jackknife=10)
    ax = depth_curve(ds, "nc1")
    values = lines(ax)["test"]
    low, high = band(ax, 1)
    np.testing.assert_allclose(low, (1 - 0.226) * values, rtol=1e-3)
    np.testing.assert_allclose(high, (1.5 + 0.226) * values, rtol=1e-3)
    assert "95% interval" in ax.get_title("left")


def test_a_standard_error_that_is_not_of_samples_is_the_band():
    ds = made_up(splits=("train",))
    ds["nc1_se"] = 0.1 * ds["nc1"]
    ax = depth_curve(ds, "nc1")
    values = ds["nc1"].values.ravel()
    low, high = band(ax)
    np.testing.assert_allclose(low, 0.9 * values)
    np.testing.assert_allclose(high, 1.1 * values)
    assert "± 1 standard error" in ax.get_title("left")


def with_chance(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign({f"nc1_null{end}": size + 0 * ds["nc1"] for end, size in (("", 30), ("_low", 20), ("_high", 50))})


def test_what_chance_gives_is_a_dotted_line_with_a_band_for_each_curve():
    ds = with_chance(made_up())
    ax = depth_curve(ds, "nc1")
    own = {name: values for name, values in lines(ax).items() if not name.startswith("_")}
    assert list(own) == ["train", "test"]
    for split, values in own.items():
        np.testing.assert_array_equal(values, ds["nc1"].isel(epoch=0, target=0).sel(split=split))
    dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert [set(line.get_ydata()) for line in dotted] == [{30.0}, {30.0}]
    low, high = band(ax)
    assert (set(low), set(high)) == ({20.0}, {50.0})
    assert ax.get_ylim()[1] > 50
    assert "dotted: by chance" in ax.get_title("left")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["train", "test"]


def test_over_many_epochs_chance_is_left_out():
    ax = depth_curve(with_chance(made_up(epochs=4)), "nc1", hue="epoch")
    assert len(ax.get_lines()) == 4


def test_decades_are_logarithmic_and_a_band_below_zero_does_not_stretch_them():
    ds = made_up(epochs=2)
    ds["nc1_se"] = 2.0 * ds["nc1"]
    ax = depth_curve(ds, "nc1")
    assert ax.get_yscale() == "log"
    least = min(values.min() for values in lines(ax).values())
    assert least / 20 < ax.get_ylim()[0] < least


def test_zeros_stay_on_a_logarithmic_axis():
    ds = made_up(epochs=2)
    ds["nc1"] = ds["nc1"].where(ds["nc1"] > 1e-3, 0.0)
    ax = depth_curve(ds, "nc1")
    assert ax.get_yscale() == "symlog"
    assert ax.get_ylim()[0] < 0.0 < 1e-3 < ax.get_ylim()[1]


def test_negative_values_are_linear():
    ds = made_up(epochs=2)
    ds["nc1"] = np.log10(ds["nc1"])
    assert depth_curve(ds, "nc1").get_yscale() == "linear"


def test_a_metric_that_does_not_depend_on_the_hue_is_one_line_without_legend():
    ax = depth_curve(made_up(), "stable_rank", hue="target")
    assert len(ax.get_lines()) == 1
    assert ax.get_legend() is None


def test_a_metric_without_any_value_says_so():
    ds = made_up()
    ds["nc1"] = ds["nc1"] * np.nan
    assert [text.get_text() for text in depth_curve(ds, "nc1").texts] == ["no finite values"]


def test_unknown_hues_and_hues_across_runs_are_refused():
    with pytest.raises(UnknownName, match=r"no hue 'epochs'; nearest: epoch"):
        depth_curve(made_up(), "nc1", hue="epochs")
    with pytest.raises(SchemaMismatch, match="hue='run'"):
        depth_curve({"a": made_up()}, "nc1", hue="split")


def test_lines_differ_without_colour():
    ax = depth_curve({name: made_up(seed=i) for i, name in enumerate("abcd")}, "nc1")
    assert len({line.get_marker() for line in ax.get_lines()}) == 4
    assert len({line.get_linestyle() for line in ax.get_lines()}) == 4
