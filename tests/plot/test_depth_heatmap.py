import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from helpers.profiles import made_up
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, SymLogNorm

from layerwise.errors import UnknownName
from layerwise.plot import depth_curve, depth_heatmap


def cells(ax: Axes) -> list[np.ma.MaskedArray]:
    return [np.ma.asarray(mesh.get_array()).reshape(-1, mesh.get_array().shape[-1]) for mesh in ax.collections]


def row_labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def beside(ax: Axes) -> list[str]:
    return [text.get_text().strip() for text in ax.texts if text.get_position()[0] == 1.0 and text.get_alpha()]


def test_each_metric_is_a_row_with_its_own_colours_and_range():
    ds = made_up(epochs=3)
    ax = depth_heatmap(ds, ["nc1", "stable_rank"])
    chosen = ds.isel(epoch=-1).sel(split="train", target="label")
    for drawn, name in zip(cells(ax), ("nc1", "stable_rank"), strict=True):
        np.testing.assert_array_equal(drawn[0], chosen[name].values)
    assert [mesh.norm.vmax for mesh in ax.collections] == [chosen[name].max() for name in ("nc1", "stable_rank")]
    assert row_labels(ax) == [r"nc1 $\downarrow$", r"stable_rank $\downarrow$"]
    assert ax.get_title("left") == "train, epoch 2, gap pooling"
    assert all(text.endswith(", log") for text in beside(ax))


def test_all_metrics_but_the_per_class_ones_are_drawn_by_default():
    ax = depth_heatmap(made_up())
    assert [label.split()[0] for label in row_labels(ax)] == ["nc1", "ncc_error", "stable_rank"]


@pytest.mark.parametrize("metric", ["nc1", ["nc1"]])
def test_rows_of_one_metric_are_the_splits(metric: str | list[str]):
    ds = made_up(epochs=2)
    ax = depth_heatmap(ds, metric)
    [drawn] = cells(ax)
    np.testing.assert_array_equal(drawn, ds["nc1"].isel(epoch=1, target=0).values)
    assert row_labels(ax) == ["train", "test"]
    bar = ax.collections[0].colorbar
    assert "within over between class variability" in bar.ax.get_xlabel()
    assert r"$\downarrow$ collapse, Papyan 2020" in bar.ax.get_xlabel()


def test_a_split_that_was_asked_for_is_the_only_row():
    ax = depth_heatmap(made_up(), "nc1", split="test")
    assert row_labels(ax) == ["test"]


def test_a_metric_without_splits_is_one_row():
    ax = depth_heatmap(made_up().sel(split="train"), "stable_rank")
    assert cells(ax)[0].shape == (1, 12)


def test_layers_run_left_to_right_and_rows_downward():
    ax = depth_heatmap(made_up(layers=5), "nc1")
    assert ax.get_xlim() == (-0.5, 4.5)
    assert ax.get_ylim() == (1.5, -0.5)


def test_runs_of_one_network_are_rows_over_its_layers():
    runs = {name: made_up(seed=seed) for seed, name in enumerate(("base", "tuned"))}
    ax = depth_heatmap(runs, "nc1")
    [drawn] = cells(ax)
    expected = [ds["nc1"].sel(split="train").values.ravel() for ds in runs.values()]
    np.testing.assert_array_equal(drawn, expected)
    assert row_labels(ax) == ["base", "tuned"]


def test_runs_of_different_networks_share_depth_and_colours():
    runs = {"deep": made_up(layers=9, epochs=4), "shallow": made_up(layers=3, epochs=2)}
    ax = depth_heatmap(runs, "nc1")
    assert [drawn.shape for drawn in cells(ax)] == [(1, 9), (1, 3)]
    assert len({(mesh.norm.vmin, mesh.norm.vmax) for mesh in ax.collections}) == 1
    edges = ax.collections[1].get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges, [0.0, 0.25, 0.75, 1.0])
    assert row_labels(ax) == ["deep (epoch 3)", "shallow (epoch 1)"]
    assert "depth" in ax.get_xlabel()


@pytest.mark.parametrize(("dim", "labels"), [("run", ["7", "8"]), ("seed", ["seed 7", "seed 8"])])
def test_a_dim_of_runs_or_seeds_makes_the_rows_of_one_metric(dim: str, labels: list[str]):
    ds = xr.concat([made_up(seed=7), made_up(seed=8)], dim).assign_coords({dim: [7, 8]})
    ax = depth_heatmap(ds, "nc1")
    assert row_labels(ax) == labels
    np.testing.assert_array_equal(cells(ax)[0], ds["nc1"].isel(epoch=0, target=0).sel(split="train").values)


def test_several_metrics_show_the_median_over_seeds_and_say_so():
    ds = xr.concat([made_up(seed=seed) for seed in range(3)], "seed")
    ax = depth_heatmap(ds)
    expected = np.median(ds["nc1"].sel(split="train").values, axis=0).ravel()
    np.testing.assert_array_equal(cells(ax)[0][0], expected)
    assert ax.get_title("left") == "train, median of 3 seeds, gap pooling"


def test_several_metrics_of_several_runs_are_refused():
    with pytest.raises(UnknownName, match="name one metric"):
        depth_heatmap({"a": made_up(), "b": made_up()})
    with pytest.raises(UnknownName, match="name one metric"):
        depth_heatmap({"a": made_up()}, ["nc1", "ncc_error"])


def with_values(values: list[float]) -> xr.Dataset:
    ds = made_up(layers=len(values), splits=("train",))
    ds["nc1"] = ds["nc1"].copy(data=np.reshape(values, (1, 1, 1, -1)))
    return ds


def test_cells_without_a_finite_value_are_blank_and_hatched():
    ax = depth_heatmap(with_values([1.0, np.nan, np.inf, 2.0]), "nc1")
    assert np.ma.getmaskarray(cells(ax)[0])[0].tolist() == [False, True, True, False]
    assert ax.patch.get_hatch()
    assert not depth_heatmap(with_values([1.0, 2.0]), "nc1").patch.get_hatch()


def test_a_metric_without_any_value_is_a_blank_row_among_others():
    ax = depth_heatmap(with_values([np.nan] * 4))
    assert np.ma.getmaskarray(cells(ax)[0]).all()
    assert beside(ax)[0] == "no finite values"


def test_a_plot_without_any_value_says_so_and_has_no_colour_bar():
    ax = depth_heatmap(with_values([np.nan] * 4), "nc1")
    assert "no finite values" in ax.get_title("left")
    assert ax.collections[0].colorbar is None


def test_decades_are_logarithmic_and_zeros_keep_a_colour():
    assert isinstance(depth_heatmap(with_values([1e-4, 1.0]), "nc1").collections[0].norm, LogNorm)
    ax = depth_heatmap(with_values([0.0, 1e-4, 1.0]), "nc1")
    scale = ax.collections[0].norm
    assert isinstance(scale, SymLogNorm)
    np.testing.assert_allclose(np.ma.getdata(scale([0.0, 1.0])), [0.0, 1.0])
    assert not np.ma.getmaskarray(cells(ax)[0]).any()


@pytest.mark.parametrize("values", [[-3.0, 0.5, 900.0], [1.0, 5.0], [0.0, 0.0]])
def test_other_values_are_linear(values: list[float]):
    scale = depth_heatmap(with_values(values), "nc1").collections[0].norm
    assert not isinstance(scale, LogNorm | SymLogNorm)


@pytest.mark.parametrize("value", [2.5, 0.0, -1.0])
def test_differences_below_accuracy_are_not_shown_as_structure(value: float):
    ax = depth_heatmap(with_values([value, value * (1 + 1e-9)]), "nc1")
    colours = ax.collections[0].norm([value, value * (1 + 1e-9)])
    np.testing.assert_allclose(colours, 0.5, atol=1e-6)


def test_numbers_are_written_where_there_is_room():
    numbers = {text.get_text() for text in depth_heatmap(with_values([0.25, 3.0] * 6), "nc1").texts}
    assert numbers == {"0.25", "3"}
    assert not depth_heatmap(made_up(layers=60), "nc1").texts


def test_a_single_layer_is_drawn():
    assert cells(depth_heatmap(made_up(layers=1), "nc1"))[0].shape == (2, 1)


@pytest.mark.parametrize("layers", [1, 12, 60])
def test_a_new_figure_fits_a_page(layers: int):
    width, height = depth_heatmap(made_up(layers=layers)).figure.get_size_inches()
    assert 3 < width <= 7
    assert height <= 8


def test_the_callers_axes_are_drawn_on_and_its_settings_left():
    before = dict(plt.rcParams)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    assert depth_heatmap(made_up(), "nc1", ax=right) is right
    assert not left.collections
    assert figure.get_size_inches().tolist() == [9, 3]
    assert dict(plt.rcParams) == before


def test_logarithms_are_not_drawn_on_a_logarithmic_scale():
    ds = made_up().rename(nc1="separation")
    assert isinstance(depth_heatmap(ds, "separation").collections[0].norm, LogNorm)
    ds["separation"].attrs["units"] = "log10"
    ax = depth_heatmap(ds, "separation")
    assert not isinstance(ax.collections[0].norm, LogNorm)
    assert depth_curve(ds, "separation").get_yscale() == "linear"


def pooled(*words: str) -> xr.Dataset:
    return made_up(layers=len(words)).assign_coords(reduction=("layer", list(words)))


def test_pooling_is_one_word_in_the_title_or_stands_below_the_layers():
    assert depth_heatmap(pooled("cls", "cls", "cls"), "nc1").get_title("left") == "nc1, cls pooling"
    ax = depth_heatmap(pooled("mean", "cls", "cls"), ["nc1", "ncc_error"])
    assert "pooling" not in ax.get_title("left")
    assert ax.get_xlabel().endswith("pooling: mean (0), cls (1 to 2)")
    vectors = made_up(layers=2).assign_coords(reduction=("layer", ["flatten"] * 2), shape=("layer", ["8", "8"]))
    assert depth_heatmap(vectors, "nc1").get_title("left") == "nc1"


def test_runs_that_pool_in_other_ways_say_so_beside_their_names():
    runs = {"base": pooled("mean", "mean", "mean"), "tuned": pooled("mean", "cls", "cls")}
    ax = depth_heatmap(runs, "nc1")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["base (mean pooling)", "tuned (cls/mean pooling)"]
    assert "pooling" not in ax.get_xlabel()
    alike = depth_heatmap({"a": runs["base"], "b": runs["base"]}, "nc1")
    assert alike.get_title("left") == "nc1, train, mean pooling"
