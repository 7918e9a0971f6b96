import numpy as np
import pytest
from helpers.profiles import made_up

from layerwise.errors import SchemaMismatch, UnknownName
from layerwise.plot._choose import Choice, by_run, choose, common_words, describe, expect, metrics_of, values_of


def test_train_is_taken_where_there_is_one_else_the_first_split():
    for splits, taken in ((("test", "train"), "train"), (("clean", "noisy"), "clean")):
        array, words = choose(values_of(made_up(splits=splits), "nc1"), Choice())
        assert array["split"].item() == taken
        assert words == [taken]


def test_the_first_target_that_has_a_value_is_taken():
    array = made_up(targets=("label", "flow"))["nc1"]
    array[:, :, 0] = np.nan
    assert choose(array, Choice())[1] == ["train", "flow"]
    assert choose(array, Choice(target="label"))[1] == ["train", "label"]
    assert choose(array * np.nan, Choice())[1] == ["train", "label"]


def test_targets_and_epochs_are_named_only_where_there_are_several():
    ds = made_up(epochs=3, targets=("fine", "coarse"))
    array, words = choose(values_of(ds, "nc1"), Choice(target="coarse"))
    assert words == ["train", "coarse", "epoch 2"]
    expected = ds["nc1"].sel(epoch=2, split="train", target="coarse")
    assert array.values.tolist() == expected.values.tolist()


@pytest.mark.parametrize(("asked", "label"), [(-1, 30), (-3, 10), (20, 20)])
def test_an_epoch_is_its_label_and_negative_ones_count_from_the_end(asked: int, label: int):
    ds = made_up(epochs=3).assign_coords(epoch=[10, 20, 30])
    array, words = choose(values_of(ds, "nc1"), Choice(epoch=asked))
    assert array["epoch"].item() == label
    assert f"epoch {label}" in words


@pytest.mark.parametrize(
    "choice", [Choice(split="tset"), Choice(target="lable"), Choice(epoch=7), Choice(epoch=-4), Choice(split="")]
)
def test_unknown_labels_are_refused(choice: Choice):
    with pytest.raises(UnknownName, match=r"no (split|target|epoch)"):
        choose(values_of(made_up(epochs=3), "nc1"), choice)


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(UnknownName, match=r"no metric 'ncc_eror'; nearest: ncc_error"):
        values_of(made_up(), "ncc_eror")


def test_a_metric_of_the_wrong_shape_says_where_it_is_drawn():
    with pytest.raises(UnknownName, match="class_heatmap"):
        values_of(made_up(), "class_variance")
    with pytest.raises(UnknownName, match="depth_heatmap"):
        values_of(made_up(), "nc1", per_class=True)


def test_layers_come_in_execution_order():
    ds = made_up(layers=5)
    assert values_of(ds.isel(layer=[3, 0, 4, 2, 1]), "nc1").identical(values_of(ds, "nc1"))


def test_errors_biases_and_chance_are_no_metrics_of_their_own():
    ds = made_up()
    for name in ("nc1_se", "nc1_bias", "nc1_null", "nc1_null_low", "nc1_null_high"):
        ds[name] = ds["nc1"] / 10
    assert metrics_of(ds) == ["nc1", "ncc_error", "stable_rank"]
    assert metrics_of(ds, per_class=True) == ["class_variance"]


def test_words_that_differ_go_to_the_runs():
    shared, labels = common_words({"a": ["train", "epoch 3"], "b": ["train", "epoch 9"], "c": ["train"]})
    assert shared == ["train"]
    assert labels == ["a (epoch 3)", "b (epoch 9)", "c"]


def test_no_profiles_at_all_are_refused():
    with pytest.raises(SchemaMismatch, match="no profile"):
        by_run({})


def test_an_extra_dim_is_named():
    with pytest.raises(SchemaMismatch, match="'nc1' also has the dim 'run'"):
        expect(values_of(made_up(), "nc1").expand_dims("run"), "epoch", "split", "target", "layer")


def test_a_description_has_unit_direction_and_source_and_does_without():
    array = made_up()["nc1"]
    assert describe(array) == "within over between class variability\n$\\downarrow$ collapse, Papyan 2020"
    array.attrs = {"long_name": "norm", "units": "px", "direction": "none", "reference": ""}
    assert describe(array) == "norm [px]"
    array.attrs = {}
    assert describe(array) == "nc1"
