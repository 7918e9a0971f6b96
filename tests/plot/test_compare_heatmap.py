import numpy as np
import pytest
import xarray as xr
from helpers.profiles import made_up
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from layerwise.errors import InvalidData, UnknownName
from layerwise.plot import compare_heatmap


def cells(ax: Axes) -> np.ndarray:
    """The values of all rows that are over the same layers."""
    blocks = [np.ma.asarray(mesh.get_array()) for mesh in ax.collections]
    return np.ma.vstack([block.reshape(-1, block.shape[-1]) for block in blocks]).filled(np.nan)


def limits(ax: Axes) -> list[tuple[float, float]]:
    return [(mesh.norm.vmin, mesh.norm.vmax) for mesh in ax.collections]


def row_labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def beside(ax: Axes) -> list[str]:
    return [text.get_text().strip() for text in ax.texts if text.get_position()[0] == 1.0 and text.get_alpha()]


def with_values(rows: list[list[float]]) -> xr.Dataset:
    """A profile whose `nc1` has these values, a row a split."""
    ds = made_up(layers=len(rows[0]), splits=("train", "test")[: len(rows)])
    return ds.assign(nc1=ds["nc1"].copy(data=np.array(rows)[None, :, None]))


def test_both_profiles_and_the_second_less_the_first_are_drawn():
    a, b = with_values([[3.0, 2.0], [5.0, 4.0]]), with_values([[2.0, 2.0], [6.0, 2.0]])
    first, second, difference = compare_heatmap(a, b, names=("base", "tuned"))
    assert cells(first).tolist() == [[3.0, 2.0], [5.0, 4.0]]
    assert cells(second).tolist() == [[2.0, 2.0], [6.0, 2.0]]
    assert cells(difference).tolist() == [[-1.0, 0.0], [1.0, -2.0]]
    assert row_labels(difference) == ["train", "test"]
    assert [ax.get_title("left") for ax in (first, second, difference)] == [
        "base: nc1, gap pooling",
        "tuned: nc1",
        "tuned less base",
    ]


def test_profiles_share_their_colours_and_those_of_the_difference_are_centred_on_zero():
    first, second, difference = compare_heatmap(with_values([[3.0, 2.0]]), with_values([[2.0, 6.0]]))
    assert limits(first) == limits(second) == [(2.0, 6.0)]
    assert limits(difference) == [(-4.0, 4.0)]
    middle = difference.collections[0].to_rgba(np.zeros(1))[0, :3]
    assert middle.min() > 0.95


def test_positive_values_over_decades_are_compared_by_the_logarithm_of_their_ratio():
    first, _, difference = compare_heatmap(with_values([[10.0, 0.1]]), with_values([[1.0, 0.001]]), names=("x", "y"))
    assert isinstance(first.collections[0].norm, LogNorm)
    np.testing.assert_allclose(cells(difference), [[-1.0, -2.0]])
    assert difference.get_title("left") == r"$\log_{10}$ ratio, y to x"
    assert r"$\log_{10}$ ratio; negative: y is nearer to collapse" in difference.collections[0].colorbar.ax.get_xlabel()


def test_with_zeros_among_them_the_difference_is_plain():
    difference = compare_heatmap(with_values([[10.0, 0.1]]), with_values([[1.0, 0.0]]))[2]
    np.testing.assert_allclose(cells(difference), [[-9.0, -0.1]])
    assert "less" in difference.get_title("left")


def test_the_colour_bar_says_which_sign_is_nearer_to_collapse():
    a, b = with_values([[3.0, 2.0]]), with_values([[2.0, 6.0]])
    a["nc1"].attrs["direction"] = "up"
    assert "positive: b is nearer" in compare_heatmap(a, b)[2].collections[0].colorbar.ax.get_xlabel()


def test_rounding_is_no_difference():
    a = with_values([[3.0, 2.0]])
    difference = compare_heatmap(a, a.assign(nc1=a["nc1"] * (1 + 1e-9)))[2]
    np.testing.assert_allclose(difference.collections[0].norm(cells(difference)), 0.5, atol=1e-6)


def test_several_metrics_have_scales_of_their_own_which_both_profiles_share():
    a, b = made_up(epochs=2, layers=4, seed=1), made_up(epochs=2, layers=4, seed=2)
    first, second, difference = compare_heatmap(a, b, ["nc1", "ncc_error"], split="test")
    place = {"epoch": -1, "split": 1, "target": 0}
    np.testing.assert_array_equal(cells(first)[0], a["nc1"].isel(place))
    np.testing.assert_array_equal(cells(second)[1], b["ncc_error"].isel(place))
    assert limits(first) == limits(second)
    assert len(set(limits(first))) == 2
    assert all(low == -high for low, high in limits(difference))
    assert row_labels(first) == [r"nc1 $\downarrow$", r"ncc_error $\downarrow$"]
    assert [text.endswith("ratio") for text in beside(difference)] == [True, True]
    assert all(text.endswith(", log") for text in [*beside(first), *beside(second)])


def test_layers_of_a_model_in_a_model_are_matched_and_others_left_out():
    a = made_up(layers=4)
    names = [*(f"wrapped.{name}" for name in a["layer"].values), "head"]
    b = made_up(layers=5, seed=2).assign_coords(layer=names)
    first, second, difference = compare_heatmap(a, b)
    assert cells(first).shape == cells(second).shape == (2, 4)
    np.testing.assert_array_equal(cells(second), b["nc1"].isel(epoch=0, target=0, layer=slice(4)))
    assert [label.get_text() for label in difference.get_xticklabels()] == list("0123")


def test_different_networks_are_drawn_over_depth():
    a, b = made_up(layers=5, epochs=2), made_up(layers=11, epochs=2)
    first, second, difference = compare_heatmap(a, b)
    assert [cells(ax).shape for ax in (first, second, difference)] == [(2, 5), (2, 11), (2, 11)]
    assert {ax.get_xlim() for ax in (first, second, difference)} == {(0.0, 1.0)}
    assert "depth" in difference.get_xlabel()
    short, long = (np.log10(ds["nc1"].sel(split="train", epoch=1)).values.ravel() for ds in (a, b))
    between = np.interp(b["depth"], a["depth"], short)
    np.testing.assert_allclose(cells(difference)[0], long - between, atol=1e-12)


def test_the_last_epoch_of_each_is_compared_and_named():
    a, b = made_up(epochs=3, layers=2, seed=1), made_up(epochs=5, layers=2, seed=2)
    first, second, _ = compare_heatmap(a, b)
    assert first.get_title("left") == "a: nc1, epoch 2, gap pooling"
    assert second.get_title("left") == "b: nc1, epoch 4"
    np.testing.assert_array_equal(cells(second), b["nc1"].isel(epoch=-1, target=0))


def test_only_splits_of_both_are_rows_and_none_is_an_error():
    a, b = (made_up(layers=2, splits=splits) for splits in (("train", "test"), ("shifted", "test")))
    assert row_labels(compare_heatmap(a, b)[0]) == ["test"]
    with pytest.raises(InvalidData, match="no split in common: train, test; x"):
        compare_heatmap(a, made_up(layers=2, splits=("x",)))


def test_of_several_seeds_the_median_is_compared():
    seeds = xr.concat([made_up(layers=2, seed=seed) for seed in range(3)], "seed")
    first = compare_heatmap(seeds, made_up(layers=2))[0]
    np.testing.assert_array_equal(cells(first)[0], np.median(seeds["nc1"].sel(split="train"), axis=0).ravel())
    assert "median of 3 seeds" in first.get_title("left")


def test_a_cell_that_one_profile_lacks_is_hatched_in_the_difference():
    a, b = with_values([[3.0, np.nan, 2.0]]), with_values([[2.0, 6.0, 2.0]])
    first, second, difference = compare_heatmap(a, b)
    assert np.isnan(cells(difference)).tolist() == [[False, True, False]]
    assert [bool(ax.patch.get_hatch()) for ax in (first, second, difference)] == [True, False, True]


def test_a_metric_without_any_value_says_so():
    a = with_values([[np.nan, np.nan]])
    assert all("no finite values" in ax.get_title("left") for ax in compare_heatmap(a, a))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UnknownName, match="nearest: nc1"):
        compare_heatmap(made_up(), made_up(), "nc2")
    with pytest.raises(UnknownName, match="class_heatmap"):
        compare_heatmap(made_up(), made_up(), "class_variance")
    with pytest.raises(InvalidData, match="convention is 'default' in one"):
        compare_heatmap(made_up().assign_attrs(convention="default"), made_up().assign_attrs(convention="papyan"))


@pytest.mark.parametrize(
    ("layers", "metrics"), [(1, "nc1"), (12, ["nc1", "ncc_error", "stable_rank"]), (60, "nc1")], ids=["1", "12", "60"]
)
def test_a_new_figure_fits_a_page(layers: int, metrics: str | list[str]):
    first, second, third = compare_heatmap(made_up(layers=layers), made_up(layers=layers, seed=2), metrics)
    width, height = first.figure.get_size_inches()
    assert 3 < width <= 7
    assert height <= 8
    boxes = [ax.get_window_extent() for ax in (first, second, third)]
    assert len({round(box.height) for box in boxes}) == 1
    assert boxes[0].y0 > boxes[1].y1 > boxes[1].y0 > boxes[2].y1


def test_titles_say_what_the_profiles_differ_in():
    a = made_up(layers=2).assign_attrs(data="digits", samples='{"train": 60}')
    b = a.assign_coords(reduction=("layer", ["cls", "cls"])).assign_attrs(data="faces", samples='{"train": 40}')
    titles = [ax.get_title("left") for ax in compare_heatmap(a, b)]
    assert titles[0] == "a: nc1, gap pooling, digits, train 60"
    assert titles[1] == "b: nc1, cls pooling, faces, train 40"
    assert titles[2].endswith("(unlike: pooling, samples, data)")
