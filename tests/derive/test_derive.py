import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
import xarray as xr
from helpers.profiles import made_up

from layerwise.derive import by_class_size, compare, effective_depth, interval, monotonicity, onset, separation_law
from layerwise.errors import InvalidData, SchemaMismatch, UnknownName
from layerwise.plot import depth_curve
from layerwise.profiling import profile
from layerwise.schema import JACKKNIFE, validate
from layerwise.store import open_store

nan = np.nan


def over_layers(name: str, rows: list[float] | list[list[float]], names: list[str] | None = None) -> xr.Dataset:
    """A profile of one split and target with a metric's values by layer, or by epoch and layer."""
    values = np.atleast_2d(rows)
    epochs, layers = values.shape
    ds = made_up(epochs=epochs, layers=layers, splits=("train",))
    attributes = {"long_name": name, "units": "1", "direction": "down", "reference": ""}
    ds = ds.assign({name: (("epoch", "split", "target", "layer"), values[:, None, None], attributes)})
    return ds if names is None else ds.assign_coords(layer=names)


def in_groups(ds: xr.Dataset, error: float = 0.1, bias: float = 0.0) -> xr.Dataset:
    """With a standard error and a bias of `nc1`, from ten groups of samples."""
    said = {**ds["nc1"].attrs, "reference": JACKKNIFE}
    found = {f"nc1_{name}": xr.full_like(ds["nc1"], value) for name, value in (("se", error), ("bias", bias))}
    return ds.assign({name: values.assign_attrs(said) for name, values in found.items()}).assign_attrs(jackknife=10)


class TestEffectiveDepth:
    @pytest.mark.parametrize(
        ("values", "position"),
        [
            ([0.5, 0.2, 0.02, 0.0], 2),
            ([0.0, 0.0, 0.0, 0.0], 0),
            ([0.01, 0.3, 0.01, 0.01], 2),
            ([0.5, 0.0, 0.0, 0.03], nan),
            ([0.5, 0.5, 0.5, 0.01], 3),
            ([0.01], 0),
            ([0.1], nan),
            ([0.5, nan, 0.01, 0.0], 2),
            ([0.5, 0.01, nan, 0.0], 1),
            ([0.5, 0.01, 0.0, nan], 1),
            ([0.5, nan, nan, nan], nan),
            ([nan, nan], nan),
            ([0.5, np.inf, 0.0], 2),
        ],
    )
    def test_is_the_first_layer_from_which_on_the_error_stays_low(self, values: list[float], position: float):
        ds = over_layers("ncc_error", values)
        found = effective_depth(ds).squeeze()
        np.testing.assert_equal(found.item(), position)
        expected = "" if np.isnan(position) else ds["layer"].values[int(position)]
        assert found["effective_layer"].item() == expected

    def test_every_epoch_split_target_and_seed_has_its_own(self):
        seeds = [made_up(epochs=3, targets=("fine", "coarse"), seed=seed) for seed in range(2)]
        ds = xr.concat(seeds, "seed")
        found = effective_depth(ds, 0.3)
        assert found.dims == ("seed", "epoch", "split", "target")
        for seed, alone in enumerate(seeds):
            np.testing.assert_array_equal(found[seed], effective_depth(alone, 0.3))
        one = ds["ncc_error"].isel(seed=1, epoch=2, split=1, target=1).values
        by_hand = next(place for place in range(12) if (one[place:] <= 0.3).all())
        assert found[1, 2, 1, 1].item() == by_hand

    def test_layers_are_taken_in_execution_order(self):
        ds = over_layers("ncc_error", [0.5, 0.2, 0.02, 0.0], ["stem", "b.1", "b.0", "a"])
        assert effective_depth(ds.isel(layer=[3, 1, 0, 2])).item() == 2

    def test_what_cannot_be_had_is_refused(self):
        with pytest.raises(UnknownName, match="nearest: ncc_error"):
            effective_depth(made_up(), metric="ncc_eror")
        with pytest.raises(SchemaMismatch, match="does not depend on 'layer'"):
            effective_depth(made_up().isel(layer=0))


class TestSeparationLaw:
    def test_an_exact_law_is_found(self):
        found = separation_law(over_layers("separation", [2.0, 1.5, 1.0, 0.5])).squeeze()
        np.testing.assert_allclose(found["slope"], -0.5)
        np.testing.assert_allclose(found["intercept"], 2.0)
        np.testing.assert_allclose(found["rate"], 10**-0.5)
        np.testing.assert_allclose(found["r_squared"], 1.0)
        assert found["fitted"].item() == 4

    def test_a_line_by_hand(self):
        # Of (0, 0), (1, 2), (2, 1): covariance 1, variances 2 and 2.
        found = separation_law(over_layers("separation", [0.0, 2.0, 1.0])).squeeze()
        assert found["slope"].item() == pytest.approx(0.5)
        assert found["intercept"].item() == pytest.approx(0.5)
        assert found["r_squared"].item() == pytest.approx(0.25)

    @pytest.mark.parametrize("bad", [nan, -np.inf, np.inf])
    def test_a_layer_without_a_finite_value_keeps_its_place(self, bad: float):
        found = separation_law(over_layers("separation", [3.0, bad, 1.0, 0.0])).squeeze()
        assert found["slope"].item() == pytest.approx(-1.0)
        assert found["r_squared"].item() == pytest.approx(1.0)
        assert found["fitted"].item() == 3

    @pytest.mark.parametrize("values", [[1.0], [1.0, nan, nan], [nan, nan]])
    def test_fewer_than_two_values_give_no_line(self, values: list[float]):
        found = separation_law(over_layers("separation", values)).squeeze()
        assert found[["slope", "intercept", "rate", "r_squared"]].to_array().isnull().all()

    def test_equal_values_have_a_slope_but_no_share_explained(self):
        found = separation_law(over_layers("separation", [0.1, 0.1, 0.1])).squeeze()
        assert found["slope"].item() == pytest.approx(0.0, abs=1e-15)
        assert np.isnan(found["r_squared"].item())

    @pytest.mark.parametrize(
        ("names", "roles", "fitted"),
        [
            (["stem", "a.0", "a.1", "fc:input", "fc"], ["stem", "block", "block", "features", "logits"], 3),
            (["stem", "a.0", "a.1", "a.2", "fc"], ["stem", "block", "block", "features", "logits"], 4),
            (["a.0:input", "a.0", "a.1", "a.2", "a.3"], ["inner", "block", "block", "block", "features"], 5),
        ],
        ids=["pooled features", "features of a block", "no classifier"],
    )
    def test_the_line_is_of_the_steps_from_input_to_features(self, names: list[str], roles: list[str], fitted: int):
        ds = over_layers("separation", [3.0, 2.0, 1.0, 0.0, -1.0], names).assign_coords(role=("layer", roles))
        assert separation_law(ds)["fitted"].item() == fitted
        assert separation_law(ds, every=True)["fitted"].item() == 5

    def test_the_caller_chooses_layers_and_their_index_starts_anew(self):
        ds = over_layers("separation", [9.0, 3.0, 5.0, 1.0])
        found = separation_law(ds.isel(layer=[1, 3]))
        assert found["slope"].item() == pytest.approx(-2.0)
        assert found["intercept"].item() == pytest.approx(3.0)

    def test_every_epoch_and_seed_has_its_own(self):
        lines = np.array([[[2.0, 1.0, 0.0], [3.0, 3.0, 3.0]], [[0.0, 1.0, nan], [nan, 4.0, 2.0]]])
        ds = xr.concat([over_layers("separation", rows.tolist()) for rows in lines], "seed")
        found = separation_law(ds)
        assert found["slope"].dims == ("seed", "epoch", "split", "target")
        np.testing.assert_allclose(found["slope"].squeeze(), [[-1.0, 0.0], [1.0, -2.0]], atol=1e-15)

    def test_without_separation_it_says_so(self):
        with pytest.raises(UnknownName, match="not measured"):
            separation_law(made_up())


class TestMonotonicity:
    @pytest.mark.parametrize(
        ("values", "correlation"),
        [
            ([4.0, 3.0, 2.0, 1.0], -1.0),
            ([1.0, 2.0, 30.0], 1.0),
            # Ranks (1, 2, 3, 4) and (4, 2, 3, 1): 1 - 6 (9 + 0 + 0 + 9) / (4 * 15).
            ([9.0, 4.0, 5.0, 1.0], -0.8),
            ([4.0, nan, 2.0, 1.0], -1.0),
            ([np.inf, 2.0, 0.0], -1.0),
            # A tie: ranks (3, 1.5, 1.5), covariance -1.5, variances 2 and 1.5.
            ([2.0, 1.0, 1.0], -1.5 / np.sqrt(3.0)),
            ([0.1, 0.1, 0.1], nan),
            ([1.0, nan, nan], nan),
            ([1.0], nan),
            ([nan, nan], nan),
        ],
    )
    def test_is_the_rank_correlation_with_depth(self, values: list[float], correlation: float):
        found = monotonicity(over_layers("nc1", values), "nc1")
        np.testing.assert_allclose(found.item(), correlation, atol=1e-12)

    def test_every_epoch_split_target_and_seed_has_its_own(self):
        ds = xr.concat([made_up(epochs=3, targets=("fine", "coarse"), seed=seed) for seed in range(2)], "seed")
        found = monotonicity(ds, "nc1")
        assert found.dims == ("seed", "epoch", "split", "target")
        place = {"seed": 1, "epoch": 0, "split": 1, "target": 1}
        one = ds["nc1"].isel(place).values
        ranks = np.argsort(np.argsort(one))
        by_hand = np.corrcoef(ranks, np.arange(12))[0, 1]
        assert found.isel(place).item() == pytest.approx(by_hand)


class TestOnset:
    def test_is_the_first_epoch_at_or_beyond_the_level(self):
        rows = [[5.0, 5.0, nan, 5.0], [0.5, 3.0, nan, nan], [2.0, 1.0, nan, 0.1]]
        ds = over_layers("nc1", rows).assign_coords(epoch=[0, 10, 40])
        assert onset(ds, "nc1", 1.0).squeeze().values.tolist()[:2] == [10.0, 40.0]
        np.testing.assert_equal(onset(ds, "nc1", 1.0).squeeze().values, [10.0, 40.0, nan, 40.0])

    def test_follows_the_direction_of_collapse(self):
        ds = over_layers("vci", [[0.1, 0.9], [0.8, 0.1]])
        ds["vci"].attrs["direction"] = "up"
        np.testing.assert_array_equal(onset(ds, "vci", 0.8).squeeze(), [1.0, 0.0])

    def test_one_epoch_is_the_first_or_there_is_none(self):
        np.testing.assert_equal(onset(over_layers("nc1", [2.0, 0.5]), "nc1", 1.0).squeeze().values, [nan, 0.0])

    def test_epochs_that_are_out_of_order_are_put_in_order(self):
        ds = over_layers("nc1", [[5.0], [0.5], [0.4]])
        assert onset(ds.isel(epoch=[2, 0, 1]), "nc1", 1.0).item() == 1.0

    def test_of_the_networks_own_error_it_is_the_interpolation_threshold(self):
        error = xr.DataArray([[0.5, 0.6], [0.0, 0.3], [0.1, 0.2]], dims=("epoch", "split"), attrs={"direction": "down"})
        ds = made_up(epochs=3).assign(network_error=error)
        np.testing.assert_equal(onset(ds, "network_error", 0.0).values, [1.0, nan])

    def test_it_can_be_drawn_over_depth(self):
        ds = made_up(epochs=5)
        found = onset(ds, "nc1", 1.0)
        ax = depth_curve(ds.assign({str(found.name): found}), "nc1_onset")
        np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), found.sel(split="train").squeeze())

    def test_what_has_no_direction_or_no_epochs_is_refused(self):
        ds = made_up()
        ds["nc1"].attrs["direction"] = "none"
        with pytest.raises(InvalidData, match="no direction of collapse"):
            onset(ds, "nc1", 1.0)
        with pytest.raises(SchemaMismatch, match="does not depend on 'epoch'"):
            onset(made_up().isel(epoch=0), "nc1", 1.0)


def bert(layers: int = 4, prefix: str = "", ends: tuple[str, ...] = ()) -> xr.Dataset:
    """Embeddings, blocks and a pooler behind a prefix, then other layers; their values are 0, 1, 2, ..."""
    names = ["embeddings", *(f"encoder.layer.{index}" for index in range(layers)), "pooler"]
    names = [prefix + name for name in names] + list(ends)
    return over_layers("nc1", np.arange(float(len(names))).tolist(), names)


class TestCompare:
    def test_is_the_second_less_the_first(self):
        a, b = made_up(epochs=2, seed=1), made_up(epochs=2, seed=2)
        found = compare(a, b)
        assert set(found.data_vars) == set(a.data_vars)
        for name in found.data_vars:
            assert found[name].dims == a[name].dims
            np.testing.assert_array_equal(found[name], b[name].values - a[name].values)
        assert found.attrs["compared_on"] == "layers"
        validate(found)

    def test_a_profile_compared_with_itself_is_zero(self):
        found = compare(made_up(), made_up())
        assert all((array == 0).all() for array in found.data_vars.values())
        assert json.loads(found.attrs["left_out"]) == {"first": [], "second": []}

    def test_attributes_are_those_that_agree(self):
        a, b = made_up(seed=1).assign_attrs(data="digits"), made_up(seed=2).assign_attrs(data="digits", model="tuned")
        found = compare(a, b)
        assert found.attrs["data"] == "digits"
        assert "seed" not in found.attrs
        assert (found.attrs["subtrahend"], found.attrs["minuend"]) == ("made-up", "tuned")
        assert found["nc1"].attrs["direction"] == "down"
        assert found["nc1"].attrs["long_name"] == "difference in within over between class variability"

    def test_only_what_both_have_is_compared(self):
        a = made_up(epochs=3, splits=("train", "test"), targets=("fine", "coarse"), seed=1)
        b = made_up(epochs=4, splits=("test", "shifted"), targets=("coarse",), seed=2).drop_vars("stable_rank")
        b = b.assign_coords(epoch=[2, 1, 7, 9])
        found = compare(a, b)
        assert "stable_rank" not in found
        assert sorted(found["epoch"].values.tolist()) == [1, 2]
        assert (found["split"].values.tolist(), found["target"].values.tolist()) == (["test"], ["coarse"])
        place = {"epoch": 2, "split": "test", "target": "coarse"}
        np.testing.assert_array_equal(found["nc1"].sel(place), b["nc1"].sel(place).values - a["nc1"].sel(place).values)

    def test_profiles_of_one_epoch_each_are_compared_whatever_it_is(self):
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
    def test_profiles_with_nothing_in_common_are_refused(self, change, message: str):
        a = made_up(epochs=2).assign_attrs(convention="default", debiased="False", standardize="False")
        with pytest.raises(InvalidData, match=message):
            compare(a, change(a))

    def test_seeds_stay_in_front(self):
        a = made_up(seed=9)
        seeds = xr.concat([made_up(seed=seed) for seed in range(3)], "seed").assign_coords(seed=[0, 1, 2])
        for found in (compare(a, seeds), compare(seeds, seeds), compare(seeds, a)):
            assert found["nc1"].dims == ("seed", "epoch", "split", "target", "layer")
        np.testing.assert_array_equal(compare(a, seeds)["nc1"][1], made_up(seed=1)["nc1"].values - a["nc1"].values)

    def test_a_standard_error_is_that_of_the_difference(self):
        a = over_layers("nc1_se", [3.0, 0.0])
        b = over_layers("nc1_se", [4.0, 2.0])
        np.testing.assert_allclose(compare(a, b)["nc1_se"].squeeze(), [5.0, 2.0])

    def test_what_chance_gives_has_no_difference(self):
        a = over_layers("nc1", [3.0, 0.0]).assign(nc1_null=5.0, nc1_null_low=4.0, nc1_null_high=6.0)
        assert not [name for name in compare(a, a).data_vars if "_null" in str(name)]

    def test_a_layer_without_a_value_has_no_difference_and_harms_no_other(self):
        a, b = over_layers("nc1", [1.0, nan, 2.0]), over_layers("nc1", [4.0, 1.0, np.inf])
        for on in ("layers", "depth"):
            np.testing.assert_array_equal(compare(a, b, on=on)["nc1"].squeeze(), [3.0, nan, np.inf])

    def test_a_model_in_a_model_has_the_same_layers_behind_a_prefix(self):
        a, b = bert(), bert(prefix="bert.", ends=("classifier:input", "classifier"))
        found = compare(a, b)
        assert found.attrs["compared_on"] == "layers, by the ends of their names"
        assert found["layer"].values.tolist() == a["layer"].values.tolist()
        assert found["other_layer"].values.tolist() == [f"bert.{name}" for name in a["layer"].values]
        assert (found["nc1"] == 0).all()
        assert json.loads(found.attrs["left_out"])["second"] == ["classifier:input", "classifier"]
        assert (compare(b, a)["nc1"] == 0).all()

    def test_two_prefixes_and_equal_heads_are_matched(self):
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
    def test_other_networks_are_compared_by_depth(self, first: xr.Dataset, second: xr.Dataset):
        found = compare(first, second)
        assert found.attrs["compared_on"] == "depth"
        assert found.sizes["layer"] == max(first.sizes["layer"], second.sizes["layer"])
        validate(found)

    def test_between_layers_depth_is_linear(self):
        a = over_layers("nc1", [0.0, 2.0], ["x", "y"])
        b = over_layers("nc1", [1.0, 1.0, 5.0], ["p", "q", "r"])
        found = compare(a, b)
        assert found["depth"].values.tolist() == [0.0, 0.5, 1.0]
        np.testing.assert_allclose(found["nc1"].squeeze(), [1.0, 0.0, 3.0])
        np.testing.assert_allclose(compare(a, b, points=5)["nc1"].squeeze(), [1.0, 0.5, 0.0, 1.5, 3.0])

    def test_a_single_layer_is_the_same_at_every_depth(self):
        found = compare(over_layers("nc1", [1.0], ["only"]), over_layers("nc1", [1.0, 2.0, 3.0], ["p", "q", "r"]))
        np.testing.assert_allclose(found["nc1"].squeeze(), [0.0, 1.0, 2.0])

    def test_the_caller_says_what_to_compare_on(self):
        assert compare(bert(4), bert(6), on="layers")["other_layer"].values.tolist() == bert(4)["layer"].values.tolist()
        assert compare(bert(), bert(), on="depth").attrs["compared_on"] == "depth"
        with pytest.raises(InvalidData, match="no layer in common: x, y; p, q"):
            compare(over_layers("nc1", [0.0, 1.0], ["x", "y"]), over_layers("nc1", [0.0, 1.0], ["p", "q"]), on="layers")


def told(**attributes: object) -> xr.Dataset:
    """A profile that says more of itself; mappings as JSON."""
    values = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in attributes.items()}
    return made_up(layers=3).assign_attrs(values)


class TestUnlike:
    @pytest.mark.parametrize(
        ("first", "second", "message"),
        [
            ({"regression": {"label": 2}}, {}, "'label' is regression of 2 numbers in one, classes in the other"),
            (
                {"regression": {"label": 2}},
                {"regression": {"label": 3}},
                "of 2 numbers in one, regression of 3 numbers",
            ),
            ({"classes": {"label": ["0", "1"]}}, {"classes": {"label": ["0", "1", "2"]}}, "2 classes .* 3 classes"),
            (
                {"classes": {"label": ["cat", "dog"]}},
                {"classes": {"label": ["dog", "cat"]}},
                r"2 classes \(cat, dog\) in one, 2 classes \(dog, cat\)",
            ),
            ({"classes": {"label": 5000}}, {"classes": {"label": 4000}}, "5000 classes"),
        ],
    )
    def test_targets_of_another_kind_or_of_other_classes_are_refused(self, first, second, message):
        with pytest.raises(InvalidData, match=f"unlike targets: .*{message}"):
            compare(told(**first), told(**second))

    def test_classes_without_names_are_told_by_their_number(self):
        named, numbered = {"label": ["cat", "dog"]}, {"label": ["0", "1"]}
        assert "differs" not in compare(told(classes=named), told(classes=numbered)).attrs

    @pytest.mark.parametrize(
        ("first", "second", "what"),
        [
            ({"samples": {"train": 60}}, {"samples": {"train": 40}}, "samples"),
            ({"source_fingerprint": "ab"}, {"source_fingerprint": "cd"}, "data"),
            ({"label_fingerprint": {"train": "ab ef"}}, {"label_fingerprint": {"train": "cd ef"}}, "data"),
            ({"data": "digits"}, {"data": "faces"}, "data"),
            ({"data_fingerprint": {"train": "ab"}}, {"data_fingerprint": {"train": "cd"}}, "inputs"),
            ({"ridge": 1e-3}, {"ridge": 1.0}, "ridge"),
            ({"precision": "float32"}, {"precision": "bfloat16"}, "precision"),
            ({}, {"ignore_index": "[-100]"}, "ignore_index"),
        ],
    )
    def test_what_else_differs_is_told_and_strict_refuses_it(self, first, second, what):
        a, b = told(**first), told(**second)
        found = json.loads(compare(a, b).attrs["differs"])
        assert list(found) == [what]
        assert all(found[what])
        with pytest.raises(InvalidData, match=f"strict: the profiles differ in {what} "):
            compare(a, b, strict=True)
        compare(a, a, strict=True)

    def test_preprocessing_is_told_apart_from_the_data(self):
        of = [
            told(source_fingerprint="ab", data_fingerprint={"train": size}, preprocessing=f"{size} pixels")
            for size in ("224", "384")
        ]
        assert json.loads(compare(*of).attrs["differs"]) == {"preprocessing": ["224 pixels", "384 pixels"]}

    def test_equal_data_under_another_name_is_no_difference(self):
        a, b = (told(data=name, data_fingerprint={"train": "ab"}) for name in ("here", "there"))
        assert "differs" not in compare(a, b, strict=True).attrs

    def test_pooling_is_told_layer_by_layer_and_vectors_have_none(self):
        a, b = made_up(layers=3), made_up(layers=3)
        a = a.assign_coords(reduction=("layer", ["mean", "mean", "flatten"]), shape=("layer", ["5x4", "5x4", "4"]))
        b = b.assign_coords(reduction=("layer", ["mean", "cls", "flatten"]), shape=("layer", ["5x4", "5x4", "4"]))
        found = compare(a, b)
        assert json.loads(found.attrs["differs"]) == {"pooling": ["mean", "cls"]}
        assert found["other_reduction"].values.tolist() == ["mean", "cls", "flatten"]
        assert found["reduction"].values.tolist() == ["mean", "mean", "flatten"]

    def test_other_splits_and_targets_are_told(self):
        a, b = made_up(targets=("fine", "coarse")), made_up(splits=("train",), targets=("coarse",))
        found = json.loads(compare(a, b).attrs["differs"])
        assert found == {"targets": ["fine, coarse", "coarse"], "splits": ["train, test", "train"]}

    def test_mean_and_class_token_profiles_of_a_network_are_told_apart(self):
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=20,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            num_labels=3,
        )
        model = transformers.BertForSequenceClassification(config).eval()
        data = [{"input_ids": torch.randint(3, 20, (12, 7)), "labels": torch.arange(12) % 3}]
        own, mean = profile(model, data, metrics="nc1"), profile(model, data, metrics="nc1", reduce="mean")
        assert json.loads(compare(own, mean).attrs["differs"]) == {"pooling": ["cls", "mean"]}
        assert "differs" not in compare(own, own).attrs


def test_all_of_it_works_on_runs_of_a_store_and_goes_back_into_one(tmp_path: Path):
    store = open_store(tmp_path / "runs.lw")
    given = {"a": made_up(epochs=3, seed=1), "b": made_up(epochs=3, seed=2)}
    for run, ds in given.items():
        store.write(ds.assign(separation=np.log10(ds["nc1"]).assign_attrs(ds["nc1"].attrs)), run=run)
    a, b = store["a"], store["b"]
    np.testing.assert_array_equal(effective_depth(a, 0.3), effective_depth(given["a"], 0.3))
    np.testing.assert_array_equal(monotonicity(a, "nc1"), monotonicity(given["a"], "nc1"))
    np.testing.assert_array_equal(onset(a, "nc1", 0.1), onset(given["a"], "nc1", 0.1))
    store.write(compare(a, b), run="difference")
    xr.testing.assert_equal(store["difference"]["nc1"].load(), compare(given["a"], given["b"])["nc1"])


@pytest.mark.parametrize(
    "derived",
    [
        lambda ds: effective_depth(ds).to_dataset(),
        lambda ds: separation_law(ds.rename(nc1="separation")),
        lambda ds: monotonicity(ds, "nc1").to_dataset(),
        lambda ds: onset(ds, "nc1", 0.1).to_dataset(),
        lambda ds: compare(ds, ds),
        lambda ds: interval(in_groups(ds), "nc1"),
    ],
)
def test_results_describe_themselves_and_survive_a_file(derived, tmp_path: Path):
    pytest.importorskip("h5netcdf")
    result = derived(made_up(epochs=2))
    for array in result.data_vars.values():
        assert {"long_name", "units", "direction", "reference"} <= set(array.attrs)
    result.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "result.nc", engine="h5netcdf") as read:
        xr.testing.assert_equal(read.load(), result)


class TestInterval:
    @pytest.mark.parametrize(
        ("bias", "low", "high"),
        [(0.0, 1.0 - 0.226, 1.0 + 0.226), (0.5, 0.5 - 0.226, 1.0 + 0.226), (-0.5, 1.0 - 0.226, 1.5 + 0.226)],
    )
    def test_is_about_the_value_and_what_it_is_without_its_bias(self, bias: float, low: float, high: float):
        # Student's t of nine degrees of freedom is 2.26.
        found = interval(in_groups(over_layers("nc1", [1.0, 1.0]), bias=bias), "nc1")
        np.testing.assert_allclose(found["low"].squeeze(), low, rtol=1e-3)
        np.testing.assert_allclose(found["high"].squeeze(), high, rtol=1e-3)
        assert found["low"].dims == ("epoch", "split", "target", "layer")
        assert "depth" in found.coords

    def test_shares_of_mistakes_have_no_bias_and_lie_in_the_middle(self):
        ds = in_groups(over_layers("nc1", [1.0, 2.0]), bias=5.0).drop_vars("nc1_bias")
        found = interval(ds, "nc1")
        np.testing.assert_allclose((found["low"] + found["high"]) / 2, ds["nc1"])

    def test_is_wider_the_more_it_shall_hold(self):
        ds = in_groups(over_layers("nc1", [1.0]))
        widths = [float((interval(ds, "nc1", level)["high"] - ds["nc1"]).squeeze()) for level in (0.5, 0.95, 0.995)]
        assert widths == pytest.approx([0.0703, 0.226, 0.369], rel=1e-3)

    def test_of_a_difference_both_biases_count(self):
        a = in_groups(over_layers("nc1", [1.0]), error=0.3, bias=0.2)
        b = in_groups(over_layers("nc1", [3.0]), error=0.4, bias=0.5)
        found = interval(compare(a, b), "nc1").squeeze()
        assert float(found["low"]) == pytest.approx(1.7 - 2.262 * 0.5, rel=1e-3)
        assert float(found["high"]) == pytest.approx(2.0 + 2.262 * 0.5, rel=1e-3)

    def test_a_layer_whose_error_is_not_known_has_none(self):
        found = interval(in_groups(over_layers("nc1", [1.0]), error=nan, bias=nan), "nc1")
        assert found["low"].isnull().all()
        assert found["high"].isnull().all()

    def test_what_has_no_error_of_samples_or_no_level_is_refused(self):
        ds = in_groups(made_up())
        with pytest.raises(UnknownName, match=r"'ncc_error'; there are: nc1. jackknife=10 measures what it takes"):
            interval(ds, "ncc_error")
        # Of random directions, not of samples.
        ds["stable_rank_se"] = ds["stable_rank"]
        with pytest.raises(UnknownName, match="stable_rank"):
            interval(ds, "stable_rank")
        with pytest.raises(UnknownName, match="there are none"):
            interval(made_up(), "nc1")
        with pytest.raises(InvalidData, match="level=95: "):
            interval(ds, "nc1", level=95)


class TestByClassSize:
    @staticmethod
    def unequal() -> xr.Dataset:
        ds = made_up(epochs=2, classes=5)
        counts = np.array([100, 60, 20, 5, nan])
        shape = ds["class_variance"].shape
        ds["class_count"] = ds["class_variance"].copy(data=np.broadcast_to(counts, shape).copy())
        # The sizes of the training split decide, whatever the test split has.
        ds["class_count"][:, 1] = 7.0
        return ds

    def test_groups_average_their_classes_and_each_counts_once(self):
        ds = self.unequal()
        found = by_class_size(ds)
        assert found["group"].values.tolist() == ["minority", "majority"]
        assert found["classes"].isel(target=0).values.tolist() == [2, 2]
        variance = ds["class_variance"]
        assert found["class_variance"].dims == ("epoch", "split", "target", "layer", "group")
        for group, classes in (("minority", [2, 3]), ("majority", [0, 1])):
            own = found["class_variance"].sel(group=group, drop=True)
            np.testing.assert_allclose(own, variance.isel({"class": classes}).mean("class"))
        assert "depth" in found.coords

    def test_a_standard_error_is_that_of_the_average(self):
        ds = self.unequal()
        said = {**ds["class_variance"].attrs, "reference": JACKKNIFE}
        ds["class_variance_se"] = xr.full_like(ds["class_variance"], 3.0).assign_attrs(said)
        ds["class_variance_bias"] = xr.full_like(ds["class_variance"], -2.0)
        found = by_class_size(ds.assign_attrs(jackknife=10))
        np.testing.assert_allclose(found["class_variance_se"], 3.0 / np.sqrt(2))
        np.testing.assert_allclose(found["class_variance_bias"], -2.0)
        ends = interval(found, "class_variance")
        np.testing.assert_allclose(ends["high"] - found["class_variance"], 2.0 + 2.2622 * 3.0 / np.sqrt(2), rtol=1e-4)
        assert by_class_size(ds, edges=(1,))["class_variance_se"].sel(group="below 1").isnull().all()

    def test_edges_make_the_groups_of_long_tailed_recognition(self):
        found = by_class_size(self.unequal(), edges=(20, 100))
        assert found["group"].values.tolist() == ["below 20", "20 to 100", "100 and above"]
        assert found["classes"].isel(target=0).values.tolist() == [1, 2, 1]

    def test_a_group_without_classes_is_nan(self):
        found = by_class_size(self.unequal(), edges=(1,))
        assert found["class_variance"].sel(group="below 1").isnull().all()

    def test_what_has_no_sizes_or_edges_is_refused(self):
        with pytest.raises(UnknownName, match="class_count"):
            by_class_size(made_up())
        with pytest.raises(InvalidData, match="ascend"):
            by_class_size(self.unequal(), edges=(100, 20))
