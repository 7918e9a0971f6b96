"""Standard errors are those of leaving samples out, and intervals made of them hold the truth as often as they say."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
import xarray as xr
from helpers.interrupted import through_kills
from helpers.networks import Columns, Perceptron, blobs, loader
from torch import Tensor, nn

from layerwise.derive import interval
from layerwise.errors import BudgetExceeded, InvalidData, NotRepeatable
from layerwise.metrics import get
from layerwise.passes.resume import ResumeState
from layerwise.profiling import Profiler
from layerwise.profiling import profile as measure
from layerwise.settings import Settings

GROUPS = 4

# Shares of mistakes jump, and a mean has no bias.
WITHOUT_BIAS = {"network_error", "network_mse", "ncc_error", "ncc_mismatch", "class_ncc_error", "probe_error"}


def profile(network: nn.Module, data: object, **options: object) -> xr.Dataset:
    """What is free otherwise changes from one moment to the next."""
    return measure(network, data, **{"memory": "1GiB", **options})


@pytest.fixture
def network():
    """In double precision, so that a forward gives the same whatever else is in the batch."""
    torch.manual_seed(0)
    return Perceptron().double()


def clusters(samples: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    inputs, labels = blobs(samples, seed=seed)
    return inputs.double(), labels


def unequal(samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Classes of unequal size, in random order."""
    inputs, labels = clusters(samples, seed)
    kept = (labels != 2) | (torch.arange(samples) % 4 == 0)
    inputs, labels = inputs[kept], labels[kept]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return inputs[order], labels[order]


def without(group: int, values: Tensor, labels: Tensor) -> Tensor:
    """The values of all samples but those of a group: the k-th of the c-th class met is in ``(k + c) mod G``."""
    seen = dict.fromkeys(labels.tolist(), 0)
    turns = {label: turn for turn, label in enumerate(seen)}
    kept = []
    for label in labels.tolist():
        kept.append((seen[label] + turns[label]) % GROUPS != group)
        seen[label] += 1
    return values[torch.tensor(kept)]


def assert_errors_are_those_of(ds: xr.Dataset, parts: list[xr.Dataset]) -> None:
    """Every ``<name>_se`` is ``sqrt((G - 1)/G sum (x_g - mean x)^2)`` over the profiles without a group each.

    Every ``<name>_bias`` is ``(G - 1) (mean x_g - x)``.
    """
    names = [str(name)[:-3] for name in ds if str(name).endswith("_se")]
    assert set(names) == {str(name) for name in parts[0]} - {
        *("between_rank", "numerical_rank", "target_rank", "target_dimensions"),
        *("weight_stable_rank", "condition_number", "balancedness", "class_count"),
    }
    for name in names:
        values = np.stack([part[name].values for part in parts])
        # Debiased metrics may be infinite without some group.
        with np.errstate(invalid="ignore"):
            expected = np.sqrt((GROUPS - 1) / GROUPS * ((values - values.mean(0)) ** 2).sum(0))
        np.testing.assert_allclose(ds[f"{name}_se"].values, expected, rtol=1e-6, atol=1e-12, err_msg=name)
        assert ds[f"{name}_se"].dims == ds[name].dims
        assert (f"{name}_bias" in ds) == (name not in WITHOUT_BIAS), name
        if name not in WITHOUT_BIAS:
            with np.errstate(invalid="ignore"):
                bias = (GROUPS - 1) * (values.mean(0) - ds[name].values)
            bias = np.where(np.isnan(expected), np.nan, bias)
            np.testing.assert_allclose(ds[f"{name}_bias"].values, bias, rtol=1e-6, atol=1e-9, err_msg=name)
            assert ds[f"{name}_bias"].dims == ds[name].dims


class TestAnError:
    @pytest.mark.parametrize("options", [{}, {"convention": "ibrahim", "debiased": True}], ids=["plain", "corrected"])
    def test_is_that_of_profiles_without_a_group_of_samples_each(self, network, options):
        splits = {"train": unequal(80), "test": unequal(40, seed=1)}
        parts = [
            profile(
                network,
                {name: loader(without(g, *part), without(g, part[1], part[1])) for name, part in splits.items()},
                **options,
            )
            for g in range(GROUPS)
        ]
        ds = profile(network, {name: loader(*part) for name, part in splits.items()}, jackknife=GROUPS, **options)
        assert_errors_are_those_of(ds, parts)

    def test_of_a_regression_target_is_that_too(self, network):
        splits = {"train": clusters(48)[0], "test": clusters(24, seed=1)[0]}

        def data(group: int | None) -> dict[str, list[tuple[Tensor, Tensor]]]:
            found = {}
            for name, inputs in splits.items():
                one_class = torch.zeros(len(inputs), dtype=torch.int64)
                own = inputs if group is None else without(group, inputs, one_class)
                found[name] = loader(own, own[:, :2] ** 2)
            return found

        parts = [profile(network, data(group), standardize=True) for group in range(GROUPS)]
        assert_errors_are_those_of(profile(network, data(None), standardize=True, jackknife=GROUPS), parts)

    def test_of_each_of_several_targets_leaves_out_samples_of_each_of_its_classes(self, network):
        inputs, labels = clusters(48)
        coarse = (labels > 0).long()
        batches = [
            (x, {"fine": y, "coarse": z})
            for x, y, z in zip(*map(torch.split, (inputs, labels, coarse), [16] * 3), strict=True)
        ]
        both = profile(network, batches, jackknife=GROUPS, metrics=["nc1", "ncc_error"])
        for target, own in (("fine", labels), ("coarse", coarse)):
            alone = profile(network, loader(inputs, own), jackknife=GROUPS, metrics=["nc1", "ncc_error"])
            for name in ("nc1_se", "ncc_error_se"):
                np.testing.assert_array_equal(both[name].sel(target=target), alone[name].isel(target=0))

    def test_says_what_it_is_and_of_how_many_groups(self, network):
        ds = profile(network, loader(*clusters()), jackknife=GROUPS, metrics=["nc1", "class_norm"])
        assert ds.attrs["jackknife"] == GROUPS
        assert ds["class_norm_se"].attrs["units"] == get("class_norm").variable.units
        assert ds["nc1_se"].attrs["direction"] == "none"

    def test_is_not_known_where_a_class_has_one_sample(self, network):
        inputs, labels = clusters(31)
        labels[-1] = 3
        ds = profile(network, loader(inputs, labels), jackknife=GROUPS, classes=4).isel(epoch=0, split=0, target=0)
        assert ds["nc1"].notnull().all()
        assert ds["nc1_se"].isnull().all()
        assert ds["feature_norm_se"].notnull().all()
        np.testing.assert_array_equal(ds["class_variance_se"].isel(layer=0).isnull(), [False, False, False, True])


class TestNothingElseChanges:
    def test_the_numbers_beside_errors_are_the_same_to_the_last_bit(self, network):
        splits = {"train": loader(*clusters()), "test": loader(*clusters(30, seed=1))}
        plain, ds = profile(network, splits), profile(network, splits, jackknife=GROUPS)
        assert not any(str(name).endswith("_se") for name in plain)
        xr.testing.assert_identical(ds[list(plain)].drop_attrs(deep=False), plain.drop_attrs(deep=False))

    def test_the_network_runs_no_more_than_without(self, network):
        runs: list[int] = []
        network.register_forward_hook(lambda module, args, output: runs.append(len(output)))
        profile(network, loader(*clusters()))
        without = list(runs)
        profile(network, loader(*clusters()), jackknife=GROUPS)
        assert runs == 2 * without

    @pytest.mark.parametrize("size", [1, 7, 60])
    def test_the_size_of_batches_changes_no_error(self, network, size):
        names = ["nc1", "cdnv", "ncc_error", "probe_error", "stable_rank"]
        whole, cut = (profile(network, loader(*clusters(), n), jackknife=GROUPS, metrics=names) for n in (16, size))
        for name in names:
            np.testing.assert_allclose(whole[f"{name}_se"], cut[f"{name}_se"], rtol=1e-4, atol=1e-12)

    @pytest.mark.parametrize("rerun", [False, True])
    def test_a_profile_that_was_killed_goes_on_to_the_same_errors(self, network, tmp_path, monkeypatch, rerun):
        if rerun:
            monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
        expected = profile(network, loader(*clusters()), jackknife=GROUPS)
        again = partial(profile, network, loader(*clusters()), jackknife=GROUPS)
        found = through_kills(network, lambda: again(resume_dir=ResumeState(tmp_path / "kept", every=0)))
        xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))

    def test_samples_that_are_left_out_of_a_layer_are_left_out_of_its_errors(self, network):
        inputs, labels = clusters()
        spoilt = inputs.clone()
        spoilt[5] = torch.nan
        ds = profile(network, loader(spoilt, labels), jackknife=GROUPS, nonfinite="drop", metrics="nc1")
        assert ds["nc1_se"].notnull().all()


class TestRefusals:
    def test_a_loader_that_shuffles_between_two_runs_leaves_other_samples_out(self, network, monkeypatch):
        monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*clusters()), 16, shuffle=True)
        assert profile(network, data).attrs["forwards"] == 2
        with pytest.raises(NotRepeatable, match="without shuffling"):
            profile(network, data, jackknife=GROUPS)

    @pytest.mark.parametrize("groups", [1, -3])
    def test_one_group_is_none(self, groups):
        with pytest.raises(InvalidData, match="2 groups of samples at least"):
            Settings(jackknife=groups)

    def test_groups_count_for_the_memory(self, network):
        plain = Profiler(network, loader(*clusters()), settings=Settings(memory="1GiB"))
        grouped = Profiler(network, loader(*clusters()), settings=Settings(memory="1GiB", jackknife=10))
        assert grouped.plan.statistics_bytes > 5 * plain.plan.statistics_bytes
        with pytest.raises(BudgetExceeded, match="measured 11 times over"):
            Profiler(network, loader(*clusters()), settings=Settings(memory="40KiB", jackknife=10))


def holds(found: xr.Dataset, truth: float | np.ndarray) -> float:
    """How often intervals hold the truth."""
    return float(((found["low"] <= truth) & (truth <= found["high"])).mean())


@pytest.mark.parametrize(("debiased", "width"), [(False, 12), (True, 6)], ids=["plain", "debiased"])
def test_intervals_hold_the_truth_of_gaussian_classes_as_often_as_they_say(debiased, width):
    counts, repeats, groups = [20, 30, 40, 70], 250, 10
    generator = np.random.default_rng(1)
    labels = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    means = 1.2 * generator.standard_normal((len(counts), width))
    spread = np.linspace(0.5, 1.5, width)
    noise = generator.standard_normal((len(labels), repeats, width))
    features = torch.from_numpy((means[labels][:, None] + spread * noise).reshape(len(labels), -1))
    centred, within = means - means.mean(0), np.diag(spread**2)
    norms = np.linalg.norm(centred, axis=1)
    gram = centred @ centred.T
    simplex = np.eye(4) - 1 / 4
    between = centred.T @ centred / 4
    shares = np.array(counts) / sum(counts)
    whole = within + (shares * means.T) @ means - np.outer(shares @ means, shares @ means)
    truth = {
        "nc1": np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / 4,
        "nc1_trace": np.trace(within) / (norms**2).mean(),
        "cdnv": np.mean([np.trace(within) / ((one - two) ** 2).sum() for one, two in combinations(means, 2)]),
        "vci": 1 - np.trace(np.linalg.solve(within + between, between)) / 3,
        "participation_ratio": np.trace(whole) ** 2 / (whole**2).sum(),
        "equinorm": norms.std() / norms.mean(),
        "etf_error": np.linalg.norm(gram / np.linalg.norm(gram) - simplex / np.sqrt(3)),
        "class_norm": norms,
    }
    ds = profile(
        Columns(width, repeats),
        loader(features, torch.from_numpy(labels), 64),
        layers="leaves",
        reduce="flatten",
        metrics=list(truth),
        jackknife=groups,
        debiased=debiased,
    ).isel(epoch=0, split=0)
    for name, true in truth.items():
        assert 0.90 <= holds(interval(ds, name), true) <= 0.98, name
    if not debiased:
        assert holds(interval(ds.drop_vars("vci_bias"), "vci"), truth["vci"]) < 0.90
