import json

import numpy as np
import pytest
import xarray as xr
from helpers.derived_cases import nan, over_layers
from helpers.profiles import made_up

from layerwise.derive import compare
from layerwise.errors import InvalidData
from layerwise.schema import validate


def bert(layers: int = 4, prefix: str = "", ends: tuple[str, ...] = ()) -> xr.Dataset:
    """Embeddings, blocks and a pooler behind a prefix, then other layers; their values are 0, 1, 2, ..."""
    names = ["embeddings", *(f"encoder.layer.{index}" for index in range(layers)), "pooler"]
    names = [prefix + name for name in names] + list(ends)
    return over_layers("nc1", np.arange(float(len(names))).tolist(), names)


def test_difference_is_the_second_less_the_first():
    a, b = made_up(epochs=2, seed=1), made_up(epochs=2, seed=2)
    found = compare(a, b)
    assert set(found.data_vars) == set(a.data_vars)
    for name in found.data_vars:
        assert found[name].dims == a[name].dims
        np.testing.assert_array_equal(found[name], b[name].values - a[name].values)
    assert found.attrs["compared_on"] == "layers"
    validate(found)


def test_a_profile_compared_with_itself_is_zero():
    found = compare(made_up(), made_up())
    assert all((array == 0).all() for array in found.data_vars.values())
    assert json.loads(found.attrs["left_out"]) == {"first": [], "second": []}


def test_attributes_that_agree_are_kept():
    a, b = made_up(seed=1).assign_attrs(data="digits"), made_up(seed=2).assign_attrs(data="digits", model="tuned")
    found = compare(a, b)
    assert found.attrs["data"] == "digits"
    assert "seed" not in found.attrs
    assert (found.attrs["subtrahend"], found.attrs["minuend"]) == ("made-up", "tuned")
    assert found["nc1"].attrs["direction"] == "down"
    assert found["nc1"].attrs["long_name"] == "difference in within over between class variability"


def test_only_common_labels_and_variables_are_compared():
    a = made_up(epochs=3, splits=("train", "test"), targets=("fine", "coarse"), seed=1)
    b = made_up(epochs=4, splits=("test", "shifted"), targets=("coarse",), seed=2).drop_vars("stable_rank")
    b = b.assign_coords(epoch=[2, 1, 7, 9])
    found = compare(a, b)
    assert "stable_rank" not in found
    assert sorted(found["epoch"].values.tolist()) == [1, 2]
    assert (found["split"].values.tolist(), found["target"].values.tolist()) == (["test"], ["coarse"])
    place = {"epoch": 2, "split": "test", "target": "coarse"}
    np.testing.assert_array_equal(found["nc1"].sel(place), b["nc1"].sel(place).values - a["nc1"].sel(place).values)


def test_single_epochs_are_compared_whatever_their_labels():
    a, b = made_up(seed=1), made_up(seed=2).assign_coords(epoch=[30])
    found = compare(a, b)
    assert found["epoch"].values.tolist() == [30]
    np.testing.assert_array_equal(found["nc1"], b["nc1"].values - a["nc1"].values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.assign_coords(epoch=[7, 8]), "no epoch in common.*ds.isel"),
        (lambda ds: ds.assign_coords(split=["a", "b"]), "no split in common: train, test; a, b"),
        (lambda ds: ds.assign_coords(target=["other"]), "no target in common"),
        (lambda ds: ds[["class_variance"]].rename(class_variance="else"), "no metric in common"),
        (
            lambda ds: ds.assign_attrs(convention="papyan"),
            "different things: convention is 'default' in one, 'papyan'",
        ),
        (lambda ds: ds.assign_attrs(debiased="True"), "debiased is 'False' in one, 'True' in the other"),
        (lambda ds: ds.assign_attrs(standardize="True"), "standardize is 'False' in one"),
    ],
)
def test_profiles_with_nothing_in_common_are_refused(change, message: str):
    a = made_up(epochs=2).assign_attrs(convention="default", debiased="False", standardize="False")
    with pytest.raises(InvalidData, match=message):
        compare(a, change(a))


def test_seed_stays_the_first_dim():
    a = made_up(seed=9)
    seeds = xr.concat([made_up(seed=seed) for seed in range(3)], "seed").assign_coords(seed=[0, 1, 2])
    for found in (compare(a, seeds), compare(seeds, seeds), compare(seeds, a)):
        assert found["nc1"].dims == ("seed", "epoch", "split", "target", "layer")
    np.testing.assert_array_equal(compare(a, seeds)["nc1"][1], made_up(seed=1)["nc1"].values - a["nc1"].values)


def test_standard_errors_add_in_quadrature():
    a = over_layers("nc1_se", [3.0, 0.0])
    b = over_layers("nc1_se", [4.0, 2.0])
    np.testing.assert_allclose(compare(a, b)["nc1_se"].squeeze(), [5.0, 2.0])


def test_values_by_chance_are_left_out():
    a = over_layers("nc1", [3.0, 0.0]).assign(nc1_null=5.0, nc1_null_low=4.0, nc1_null_high=6.0)
    assert not [name for name in compare(a, a).data_vars if "_null" in str(name)]


def test_nan_in_a_layer_changes_no_other():
    a, b = over_layers("nc1", [1.0, nan, 2.0]), over_layers("nc1", [4.0, 1.0, np.inf])
    for on in ("layers", "depth"):
        np.testing.assert_array_equal(compare(a, b, on=on)["nc1"].squeeze(), [3.0, nan, np.inf])


def test_layers_behind_a_prefix_are_matched():
    a, b = bert(), bert(prefix="bert.", ends=("classifier:input", "classifier"))
    found = compare(a, b)
    assert found.attrs["compared_on"] == "layers, by the ends of their names"
    assert found["layer"].values.tolist() == a["layer"].values.tolist()
    assert found["other_layer"].values.tolist() == [f"bert.{name}" for name in a["layer"].values]
    assert (found["nc1"] == 0).all()
    assert json.loads(found.attrs["left_out"])["second"] == ["classifier:input", "classifier"]
    assert (compare(b, a)["nc1"] == 0).all()


def test_two_prefixes_and_equal_heads_are_matched():
    found = compare(bert(prefix="bert.", ends=("classifier",)), bert(prefix="deit.", ends=("classifier",)))
    assert found["other_layer"].values.tolist()[-2:] == ["deit.pooler", "classifier"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (bert(4), bert(6)),
        (bert(4), bert(6, prefix="bert.")),
        (
            over_layers("nc1", [0.0, 1.0], ["layer1.0", "layer2.0"]),
            over_layers("nc1", [0.0] * 3, ["layer1.0", "layer1.1", "layer2.0"]),
        ),
        (
            over_layers("nc1", [0.0] * 4, ["a.0", "a.1", "a.2", "fc"]),
            over_layers("nc1", [0.0] * 4, ["b.x.0", "b.x.1", "b.x.2", "fc"]),
        ),
    ],
    ids=["deeper", "deeper behind a prefix", "wider stage", "only numbers and the head alike"],
)
def test_other_networks_are_compared_by_depth(first: xr.Dataset, second: xr.Dataset):
    found = compare(first, second)
    assert found.attrs["compared_on"] == "depth"
    assert found.sizes["layer"] == max(first.sizes["layer"], second.sizes["layer"])
    validate(found)


def test_between_layers_depth_is_linear():
    a = over_layers("nc1", [0.0, 2.0], ["x", "y"])
    b = over_layers("nc1", [1.0, 1.0, 5.0], ["p", "q", "r"])
    found = compare(a, b)
    assert found["depth"].values.tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(found["nc1"].squeeze(), [1.0, 0.0, 3.0])
    np.testing.assert_allclose(compare(a, b, points=5)["nc1"].squeeze(), [1.0, 0.5, 0.0, 1.5, 3.0])


def test_a_single_layer_is_the_same_at_every_depth():
    found = compare(over_layers("nc1", [1.0], ["only"]), over_layers("nc1", [1.0, 2.0, 3.0], ["p", "q", "r"]))
    np.testing.assert_allclose(found["nc1"].squeeze(), [0.0, 1.0, 2.0])


def test_on_forces_layers_or_depth():
    assert compare(bert(4), bert(6), on="layers")["other_layer"].values.tolist() == bert(4)["layer"].values.tolist()
    assert compare(bert(), bert(), on="depth").attrs["compared_on"] == "depth"
    with pytest.raises(InvalidData, match="no layer in common: x, y; p, q"):
        compare(over_layers("nc1", [0.0, 1.0], ["x", "y"]), over_layers("nc1", [0.0, 1.0], ["p", "q"]), on="layers")
