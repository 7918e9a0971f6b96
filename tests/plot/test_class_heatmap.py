import numpy as np
import pytest
from helpers.profiles import made_up

from layerwise.errors import UnknownName
from layerwise.plot import class_heatmap


def test_classes_are_rows_from_the_top():
    ds = made_up(epochs=2, classes=5)
    ax = class_heatmap(ds, split="test", epoch=0)
    drawn = ax.collections[0].get_array().reshape(5, 12)
    np.testing.assert_array_equal(drawn, ds["class_variance"].isel(epoch=0, target=0).sel(split="test").values.T)
    assert ax.get_ylim() == (4.5, -0.5)
    assert [label.get_text() for label in ax.get_yticklabels()] == list("01234")


def test_classes_have_the_names_of_the_target_and_no_others():
    names = [["cat", "dog", "cow", "hen"], ["pet", "farm", "", ""]]
    ds = made_up(targets=("fine", "coarse")).assign_coords(class_name=(("target", "class"), names))
    for target, expected in zip(("fine", "coarse"), (names[0], ["pet", "farm"]), strict=True):
        ax = class_heatmap(ds, target=target)
        assert [label.get_text() for label in ax.get_yticklabels()] == expected
        assert ax.collections[0].get_array().size == 12 * len(expected)


def test_a_thousand_classes_fit_a_page():
    ax = class_heatmap(made_up(classes=1000))
    assert ax.figure.get_size_inches()[1] <= 8
    assert len(ax.get_yticklabels()) < 50


def test_an_absent_class_is_a_blank_row():
    ds = made_up()
    ds["class_variance"] = ds["class_variance"].where(ds["class"] != 2)
    mask = np.ma.getmaskarray(class_heatmap(ds).collections[0].get_array()).reshape(4, 12)
    assert mask.all(axis=1).tolist() == [False, False, True, False]


def test_a_metric_without_classes_is_sent_to_its_own_plot():
    with pytest.raises(UnknownName, match="depth_heatmap"):
        class_heatmap(made_up(), "nc1")


def test_classes_can_be_drawn_from_the_largest_to_the_smallest():
    ds = made_up(splits=("train",))
    counts = np.array([5, np.nan, 40, 12])
    ds["class_count"] = ds["class_variance"].copy(data=np.broadcast_to(counts, ds["class_variance"].shape))
    ax = class_heatmap(ds, order="size")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["2 (40)", "3 (12)", "0 (5)", "1 (0)"]
    drawn = ax.collections[0].get_array().reshape(4, 12)
    np.testing.assert_array_equal(drawn, ds["class_variance"].squeeze().values.T[[2, 3, 0, 1]])
    with pytest.raises(UnknownName, match="size"):
        class_heatmap(ds, order="sizes")
