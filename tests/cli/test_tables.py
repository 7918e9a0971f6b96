import re

import numpy as np
import pytest
from helpers.profiles import made_up

from layerwise.cli.tables import (
    compared_metrics,
    compared_on,
    comparison_frame,
    comparison_table,
    profile_frame,
    profile_table,
    summary,
)
from layerwise.errors import InvalidData, UnknownName


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("layers", [1, 12, 60])
def test_a_table_has_a_row_a_layer_and_columns_that_line_up(layers: int):
    ds = made_up(layers=layers)
    text = profile_table(ds, "test")
    head, *body = rows(text)
    assert head == ["depth", "nc1", "ncc_error"]
    assert [row[0] for row in body] == ds["layer"].values.tolist()
    assert len({len(line) for line in text.splitlines()}) == 1
    for row, value in zip(body, ds["nc1"].sel(split="test").values.ravel(), strict=True):
        assert float(row[2]) == pytest.approx(value, rel=1e-3)


def test_the_last_epoch_and_the_chosen_split_are_shown():
    ds = made_up(epochs=3)
    frame = profile_frame(ds, "test")
    np.testing.assert_array_equal(frame["nc1"], ds["nc1"].isel(epoch=-1, split=1, target=0))
    np.testing.assert_array_equal(frame["depth"], ds["depth"])


def test_a_standard_error_stands_beside_its_metric_and_once():
    ds = made_up(layers=4)
    ds["ncc_error_se"] = ds["ncc_error"] / 10
    assert list(profile_frame(ds, "train").columns) == ["depth", "nc1", "ncc_error", "ncc_error_se"]
    whole = profile_frame(ds, "train", metrics=list(ds.data_vars))
    assert list(whole.columns) == ["depth", "nc1", "ncc_error", "ncc_error_se", "stable_rank"]


def test_a_standard_error_is_shown_behind_its_value_in_columns_that_line_up():
    ds = made_up(layers=3)
    ds["nc1"] = ds["nc1"] * 0 + [0.25, 12.5, np.nan]
    ds["nc1_se"] = ds["nc1"] * 0 + [0.0123, 2.0, np.nan]
    head, *body = profile_table(ds, "train", ["nc1", "stable_rank"]).splitlines()
    assert head.split() == ["depth", "nc1", "stable_rank"]
    assert [line.split()[2:5] for line in body[:2]] == [["0.25", "±", "0.012"], ["12.5", "±", "2"]]
    assert body[0].index("±") == body[1].index("±")
    assert (body[2].split()[2], len(body[2].split())) == ("-", 4)


def test_a_comparison_has_the_errors_of_both_and_of_the_difference():
    first, second = (made_up(layers=3, seed=seed) for seed in (0, 1))
    a, b = first.assign(nc1_se=first["nc1"] / 10), second.assign(nc1_se=second["nc1"] / 4)
    frame = comparison_frame(a, b, "train", ["nc1", "ncc_error"])
    sides = [side for metric, side in frame.columns if metric == "nc1"]
    assert sides == ["a", "a_se", "b", "b_se", "b - a", "b - a_se"]
    np.testing.assert_allclose(frame["nc1", "b_se"], frame["nc1", "b"] / 4)
    np.testing.assert_allclose(frame["nc1", "b - a_se"], np.hypot(frame["nc1", "a"] / 10, frame["nc1", "b"] / 4))
    lines = comparison_table(a, b, "train", ["nc1", "ncc_error"]).splitlines()
    assert re.findall(r"b - a|\ba\b|\bb\b", lines[1]) == ["a", "b", "b - a"] * 2
    assert [line.count("±") for line in lines[2:]] == [3, 3, 3]
    assert "±" not in comparison_table(a, b.drop_vars("nc1_se"), "train")


def in_two_ways(layers: int = 3):
    ds = made_up(layers=layers)
    return ds.assign_coords(reduction=("layer", ["mean", *["cls"] * (layers - 1)]))


def test_a_table_says_how_layers_are_pooled_where_they_are_not_alike():
    assert "pooling" not in profile_table(made_up(), "train")
    head, *body = rows(profile_table(in_two_ways(), "train"))
    assert head[-1] == "pooling"
    assert [row[-1] for row in body] == ["mean", "cls", "cls"]
    twice = made_up(layers=3, targets=("fine", "coarse")).assign_coords(reduction=in_two_ways()["reduction"])
    assert [row[-1] for row in rows(profile_table(twice, "train"))[1:]] == ["mean", "cls", "cls"] * 2


def test_a_comparison_says_how_both_pool():
    a, b = made_up(layers=3), in_two_ways()
    assert compared_on(a, b) == "compared on layers; a and b differ in pooling (gap; mean, cls)"
    with pytest.raises(InvalidData, match=r"strict: .*pooling \(gap; mean, cls\)"):
        compared_on(a, b, strict=True)
    assert [row[-2:] for row in rows(comparison_table(a, b, "train"))[2:]] == [["gap", "mean"], *[["gap", "cls"]] * 2]
    assert "pooling" not in comparison_table(a, a, "train")
    assert "pooling" not in comparison_table(a, made_up(layers=5), "train")


def test_what_has_no_value_is_a_dash():
    ds = made_up(layers=4)
    ds["nc1"] = ds["nc1"].where(ds["layer"] != ds["layer"][2])
    ds["ncc_error"] = ds["ncc_error"] * np.nan
    body = rows(profile_table(ds, "train"))[1:]
    assert [row[2] == "-" for row in body] == [False, False, True, False]
    assert [row[3] for row in body] == ["-"] * 4
    assert "nan" not in profile_table(ds, "train").lower()


def test_only_what_was_measured_of_layers_is_a_column():
    ds = made_up().drop_vars("ncc_error")
    ds["network_error"] = ds["nc1"].isel(layer=0, drop=True)
    assert list(profile_frame(ds, "train", metrics=list(ds.data_vars)).columns) == ["depth", "nc1", "stable_rank"]


def test_several_targets_stand_in_front_by_name():
    ds = made_up(layers=12, targets=("fine", "coarse"))
    body = rows(profile_table(ds, "train"))[1:]
    assert len(body) == 24
    assert (body[0][0], body[12][0]) == ("fine", "coarse")
    frame = profile_frame(ds, "train")
    for target in ("fine", "coarse"):
        expected = ds["nc1"].sel(split="train", target=target).values.ravel()
        np.testing.assert_array_equal(frame.loc[target, "nc1"], expected)
        np.testing.assert_array_equal(profile_frame(ds, "train", target)["nc1"], expected)
    assert set(frame.reset_index().columns) == {"target", "layer", "depth", "nc1", "ncc_error"}


def test_an_unknown_split_or_target_names_the_nearest():
    with pytest.raises(UnknownName, match="no split 'tset'; nearest: test"):
        profile_table(made_up(), "tset")
    with pytest.raises(UnknownName, match="no target 'lable'; nearest: label"):
        profile_table(made_up(), "train", target="lable")


def test_a_comparison_has_both_and_the_second_less_the_first():
    a, b = made_up(epochs=2, seed=1), made_up(epochs=3, seed=2)
    frame = comparison_frame(a, b, "train", ["stable_rank", "nc1"])
    first, second = (ds["nc1"].isel(epoch=-1, split=0, target=0).values for ds in (a, b))
    np.testing.assert_array_equal(frame["nc1", "a"], first)
    np.testing.assert_array_equal(frame["nc1", "b"], second)
    np.testing.assert_array_equal(frame["nc1", "b - a"], second - first)
    assert [metric for metric, _ in frame.columns] == ["", *["stable_rank"] * 3, *["nc1"] * 3]


@pytest.mark.parametrize(("first", "second"), [(12, 12), (12, 60), (60, 60)])
def test_a_comparison_of_many_layers_lines_up(first: int, second: int):
    text = comparison_table(made_up(layers=first), made_up(layers=second, seed=3), "test")
    lines = text.splitlines()
    assert len(lines) == 2 + max(first, second)
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == ["nc1", "ncc_error"]
    assert re.findall(r"b - a|\ba\b|\bb\b", lines[1]) == ["a", "b", "b - a"] * 2


def test_a_comparison_shows_dashes_and_names_targets():
    a = made_up(layers=3, targets=("fine", "coarse"))
    b = a.assign(nc1=a["nc1"].where(a["layer"] != a["layer"][1]))
    body = rows(comparison_table(a, b, "train", ["nc1"]))[2:]
    assert [row[0] for row in body] == ["fine", *a["layer"].values[1:], "coarse", *a["layer"].values[1:]]
    assert body[1][-2:] == ["-", "-"]
    assert body[0][-1] == "0"


def test_a_comparison_says_what_was_compared():
    a = made_up(layers=3)
    b = a.assign_coords(layer=["encoder.stages.0.blocks.0", "encoder.stages.0.blocks.1", "norm"])
    assert compared_on(a, a) == "compared on layers"
    assert compared_on(made_up(layers=3), made_up(layers=12)) == "compared on depth"
    a = a.assign_coords(layer=["stem", "encoder.stages.0.blocks.0", "encoder.stages.0.blocks.1"])
    assert compared_on(a, b) == "compared on layers; only in a: stem; only in b: norm"


def test_without_the_usual_metrics_those_that_there_are_are_compared():
    assert compared_metrics(made_up(), made_up()) == ["nc1", "ncc_error"]
    bare = made_up()[["stable_rank", "class_variance"]]
    assert compared_metrics(bare, made_up()) == ["stable_rank"]


def test_metrics_that_cannot_be_compared_are_refused():
    for name in ("nc2", "class_variance"):
        with pytest.raises(UnknownName, match="metric of both profiles"):
            comparison_frame(made_up(), made_up(), "train", [name])
    with pytest.raises(InvalidData, match="no metric in common"):
        comparison_frame(made_up()[["nc1"]], made_up()[["stable_rank"]], "train")


def with_errors(errors: list[float], **options: tuple[str, ...]):
    ds = made_up(layers=len(errors), splits=("train",), **options)
    return ds.assign(ncc_error=ds["ncc_error"] * 0 + np.array(errors))


def test_the_summary_names_the_layer_from_which_on_few_samples_are_wrong():
    text = summary(with_errors([0.5, 0.01, 0.0]))
    assert text.startswith("effective depth: 1 of 2 (encoder.stages.0.blocks.1): from there on")
    assert "at most 2% of the train samples" in text


def test_the_summary_says_where_there_is_no_such_layer():
    assert "none" in summary(with_errors([0.5, 0.01, 0.25]))
    assert "in the last layer (25.0%)" in summary(with_errors([0.5, 0.01, 0.25, np.nan]))


def test_the_summary_has_a_line_for_each_target_with_classes():
    ds = with_errors([0.5, 0.0], targets=("fine", "coarse", "age"))
    ds["ncc_error"] = ds["ncc_error"].where(ds["target"] != "age")
    assert [line.partition(":")[0] for line in summary(ds).splitlines()] == [
        "effective depth (fine)",
        "effective depth (coarse)",
    ]
    assert summary(ds.drop_vars("ncc_error")) == ""
