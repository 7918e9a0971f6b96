"""Under shuffled labels metrics are what chance gives, from the same runs of the data."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import xarray as xr
from helpers.interrupted import through_kills
from helpers.networks import Columns, Perceptron, blobs, loader
from torch import Tensor

from layerwise.errors import InvalidData, NotRepeatable
from layerwise.evaluation.uncertainty import under_chance
from layerwise.metrics import get, list_metrics
from layerwise.passes import LabelShuffles
from layerwise.passes.resume import ResumeState
from layerwise.profiling import profile as measure
from layerwise.settings import Settings
from layerwise.training.tracker import Tracker

DRAWS = 5


def profile(network: torch.nn.Module, data: object, **options: object) -> xr.Dataset:
    """What is free otherwise changes from one moment to the next."""
    return measure(network, data, **{"memory": "1GiB", **options})


def clusters(samples: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    inputs, labels = blobs(samples, seed=seed)
    return inputs.double(), labels


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Perceptron().double()


@pytest.fixture
def taken(monkeypatch):
    """The shuffles that a profile takes, by number of samples."""
    made: dict[int, LabelShuffles] = {}
    start = LabelShuffles.__init__

    def keep(self: LabelShuffles, *words: object) -> None:
        start(self, *words)
        made[self.size] = self

    monkeypatch.setattr(LabelShuffles, "__init__", keep)
    return made


def orders(shuffles: LabelShuffles, target: str = "label") -> list[Tensor]:
    """The labels of a target in every order."""
    seen = shuffles.of({target: (torch.zeros(0), None)}, 0, shuffles.size)
    return [order[target][0] for order in seen]


def assert_chance_is_that_of(ds: xr.Dataset, draws: list[xr.Dataset]) -> set[str]:
    """Mean and range of every metric that has them are those over the draws; gives their names."""
    names = {str(name)[:-5] for name in ds if str(name).endswith("_null")}
    for name in names:
        values = np.stack([draw[name].values for draw in draws])
        found = [ds[f"{name}_null{end}"].values for end in ("", "_low", "_high")]
        expected = [values.mean(0), values.min(0), values.max(0)]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12, err_msg=name)
    return names


class TestChance:
    @pytest.mark.parametrize("options", [{}, {"convention": "ibrahim", "debiased": True}], ids=["plain", "corrected"])
    @pytest.mark.parametrize("rerun", [False, True])
    def test_is_that_of_profiles_of_the_same_samples_with_those_labels(
        self, network, taken, options, rerun, monkeypatch
    ):
        if rerun:
            monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
        train, test = clusters(60), clusters(33, seed=1)
        ds = profile(network, {"train": loader(*train), "test": loader(*test)}, null=DRAWS, **options)
        draws = [
            profile(network, {"train": loader(train[0], one), "test": loader(test[0], two)}, **options)
            for one, two in zip(orders(taken[60]), orders(taken[33]), strict=True)
        ]
        names = assert_chance_is_that_of(ds, draws)
        assert {"nc1", "vci", "ncc_error", "ncc_mismatch", "probe_error", "h_score", "self_duality"} < names
        assert not {"class_norm", "stable_rank", "between_rank", "geometric_complexity"} & names

    @pytest.mark.parametrize("gaps", [False, True])
    def test_of_a_regression_target_is_that_of_profiles_with_those_targets(self, network, taken, gaps):
        splits = {"train": clusters(60)[0], "test": clusters(33, seed=1)[0]}
        targets = {name: inputs[:, :2].square() + 7 for name, inputs in splits.items()}
        if gaps:
            targets["train"][::7] = torch.nan
        options = {"standardize": True, "nonfinite": "drop"}
        ds = profile(network, {name: loader(splits[name], targets[name]) for name in splits}, null=DRAWS, **options)
        shuffled = [
            dict(zip(splits, pair, strict=True)) for pair in zip(orders(taken[60]), orders(taken[33]), strict=True)
        ]
        draws = [
            profile(network, {name: loader(splits[name], own[name]) for name in splits}, **options) for own in shuffled
        ]
        assert assert_chance_is_that_of(ds, draws) == {"nrc2_cka", "linear_mse", "linear_r2", "linear_logme"}
        assert (ds["linear_r2"] > ds["linear_r2_null_high"]).all()

    def test_of_39_draws_the_band_leaves_out_none_and_of_more_the_outermost(self):
        draws = [{"nc1": {("label", "a"): np.array(float(value))}} for value in range(1, 80)]
        found = under_chance([get("nc1")], draws)
        assert [float(found[f"nc1_null{end}"]["label", "a"]) for end in ("", "_low", "_high")] == [40.0, 2.0, 78.0]
        found = under_chance([get("nc1")], draws[:39])
        assert [float(found[f"nc1_null{end}"]["label", "a"]) for end in ("_low", "_high")] == [1.0, 39.0]

    def test_its_band_holds_what_has_no_classes_and_not_what_has(self):
        repeats, width, labels = 60, 8, torch.arange(60) % 3
        features = torch.randn(60, repeats, width, generator=torch.Generator().manual_seed(0))
        features[:, 40:, :3] += 2 * torch.eye(3)[labels][:, None]
        names = ["nc1", "cdnv", "ncc_error", "probe_error"]
        options = {"layers": "leaves", "reduce": "flatten", "metrics": names, "null": 39}
        ds = profile(Columns(width, repeats), loader(features.flatten(1), labels), **options)
        ds = ds.sel(layer=[f"blocks.{place}" for place in range(repeats)])
        for name in names:
            at = ds.isel(epoch=0, split=0, target=0)
            held = ((at[name] >= at[f"{name}_null_low"]) & (at[name] <= at[f"{name}_null_high"])).values
            assert 0.87 <= held[:40].mean() <= 1.0, name
            assert not held[40:].any(), name

    def test_samples_in_the_same_order_in_both_splits_do_not_share_their_labels(self, network):
        labels = torch.arange(60) // 20
        far = 10 * torch.eye(3, 8)[labels]
        draw = torch.Generator().manual_seed(0)
        splits = {
            name: loader((far + torch.randn(60, 8, generator=draw)).double(), labels) for name in ("train", "test")
        }
        ds = profile(network, splits, null=20, metrics=["ncc_error"], layers=["first"]).isel(epoch=0, target=0, layer=0)
        assert float(ds["ncc_error_null"].sel(split="test")) == pytest.approx(2 / 3, abs=0.05)


class TestShuffles:
    def test_every_label_is_as_often_as_it_was_and_every_order_another(self):
        labels = torch.tensor([0] * 50 + [1] * 30 + [40_000] * 5)
        found = orders(LabelShuffles({"label": labels}, 4, 0, torch.arange(85)))
        for order in found:
            assert torch.equal(order.sort().values, labels)
        assert len({tuple(order.tolist()) for order in [labels, *found]}) == 5

    def test_processes_have_the_orders_of_the_whole_between_them(self):
        labels, all_of = {"label": torch.arange(30) % 4}, torch.arange(30)
        whole, one, two = (LabelShuffles(labels, 3, 7, own) for own in (all_of, all_of[::2], all_of[1::2]))
        for order, first, second in zip(*map(orders, (whole, one, two)), strict=True):
            assert torch.equal(order[::2], first)
            assert torch.equal(order[1::2], second)

    def test_targets_are_shuffled_together(self):
        fine = torch.arange(30) % 6
        shuffles = LabelShuffles(
            {"fine": fine, "coarse": fine // 2, "size": fine[:, None].double()}, 3, 0, torch.arange(30)
        )
        for one, two, three in zip(*(orders(shuffles, target) for target in ("fine", "coarse", "size")), strict=True):
            assert torch.equal(one // 2, two)
            assert torch.equal(one[:, None].double(), three)

    def test_samples_without_a_target_keep_none(self):
        values = torch.arange(20.0)[:, None]
        values[::3] = torch.nan
        for order in orders(LabelShuffles({"size": values}, 3, 0, torch.arange(20)), "size"):
            assert torch.equal(order.isnan(), values.isnan())
            assert torch.equal(order[~order.isnan()].sort().values, values[~values.isnan()])

    def test_the_seed_decides(self, network):
        one, same, other = (
            profile(network, loader(*clusters()), null=DRAWS, seed=seed, metrics="nc1")["nc1_null"]
            for seed in (0, 0, 1)
        )
        assert one.equals(same)
        assert not one.equals(other)


class TestNothingElseChanges:
    def test_the_numbers_beside_it_are_the_same_to_the_last_bit(self, network):
        splits = {"train": loader(*clusters()), "test": loader(*clusters(30, seed=1))}
        plain, ds = profile(network, splits), profile(network, splits, null=DRAWS, jackknife=3)
        assert ds.attrs["null"] == DRAWS
        xr.testing.assert_identical(ds[list(plain)].drop_attrs(deep=False), plain.drop_attrs(deep=False))
        errors = profile(network, splits, jackknife=3)
        xr.testing.assert_identical(ds[list(errors)].drop_attrs(deep=False), errors.drop_attrs(deep=False))

    def test_the_network_runs_no_more_than_without(self, network):
        runs: list[int] = []
        network.register_forward_hook(lambda module, args, output: runs.append(len(output)))
        profile(network, loader(*clusters()))
        without = list(runs)
        profile(network, loader(*clusters()), null=DRAWS)
        assert runs == 2 * without

    @pytest.mark.parametrize("size", [1, 7])
    def test_the_size_of_batches_changes_nothing(self, network, size):
        whole, cut = (profile(network, loader(*clusters(), n), null=DRAWS, metrics="nc1") for n in (16, size))
        np.testing.assert_allclose(whole["nc1_null"], cut["nc1_null"], rtol=1e-6)

    def test_a_profile_that_was_killed_goes_on_to_the_same_numbers(self, network, tmp_path, monkeypatch):
        monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
        expected = profile(network, loader(*clusters()), null=DRAWS)
        again = partial(profile, network, loader(*clusters()), null=DRAWS)
        found = through_kills(network, lambda: again(resume_dir=ResumeState(tmp_path / "kept", every=0)))
        xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))

    def test_a_tracker_reads_the_labels_once_and_has_chance_and_errors_at_every_epoch(self, network):
        runs: list[int] = []

        class Loader(list):
            def __iter__(self):
                runs.append(len(self))
                return super().__iter__()

        with Tracker(network, Loader(loader(*clusters())), metrics="nc1", null=DRAWS, jackknife=3) as tracker:
            before = len(runs)
            for epoch in range(3):
                tracker.measure(epoch)
        # The labels, and three epochs; what waits for the second pass is not run again.
        assert len(runs) - before == 1 + 3
        for name in ("nc1_se", "nc1_null"):
            values = tracker.dataset[name].squeeze()
            assert values.notnull().all()
            np.testing.assert_array_equal(values.isel(epoch=0), values.isel(epoch=2))

    def test_classes_and_regression_targets_are_shuffled_in_one_run(self, network):
        inputs, labels = clusters()
        ds = profile(network, [(inputs, {"label": labels, "size": inputs[:, :2]})], null=DRAWS)
        for name, own, other in (("nc1_null", "label", "size"), ("linear_r2_null", "size", "label")):
            assert ds[name].sel(target=own).notnull().all()
            assert ds[name].sel(target=other).isnull().all()


class TestRefusals:
    def test_what_does_not_know_which_target_is_of_which_sample_has_no_chance(self, network):
        inputs, labels = clusters()
        with pytest.raises(InvalidData, match="of these targets do nrc2_cka, linear_mse, linear_r2, linear_logme"):
            profile(network, loader(inputs, inputs[:, :2]), null=DRAWS, metrics=["nrc1", "nrc3_alignment"])
        with pytest.raises(InvalidData, match="of these targets do equinorm, .* nc1, "):
            profile(network, loader(inputs, labels), null=DRAWS, metrics="stable_rank")

    def test_a_loader_that_runs_once_cannot_be_looked_at_beforehand(self, network):
        with pytest.raises(NotRepeatable, match="reads the labels before"):
            profile(network, iter(loader(*clusters())), null=DRAWS)

    @pytest.mark.parametrize("draws", [1, -1])
    def test_one_shuffle_is_no_distribution(self, draws):
        with pytest.raises(InvalidData, match="2 shuffles"):
            Settings(null=draws)


def test_every_default_metric_of_collapse_has_its_chance():
    found = {name for name in list_metrics() if get(name).has_chance}
    assert {"nc1", "nc1_trace", "cdnv", "separation", "vci", "equinorm", "max_angle", "probe_error", "logme"} <= found
    assert {"nrc2_cka", "linear_mse", "linear_r2", "linear_logme"} == {
        name for name in found if "regression" in get(name).needs
    }
    assert not {"class_variance", "between_rank", "weight_stable_rank"} & found
