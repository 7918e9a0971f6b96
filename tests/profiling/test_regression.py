"""Profiles of regression targets: alone, several, beside classes, with gaps, and of trained networks."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import regression_oracle as oracle
from helpers.networks import Convolutional, Perceptron, blobs, loader
from helpers.regression_data import batches, teacher
from torch import Tensor, nn

from layerwise import plot, schema
from layerwise.cli.tables import profile_table, summary
from layerwise.errors import InvalidLabels
from layerwise.passes.resume import ResumeState
from layerwise.profiling import profile
from layerwise.store import open_store
from layerwise.training.tracker import Tracker

REGRESSION = ("nrc1", "nrc1_normalized", "nrc2", "nrc2_cka", "nrc3", "nrc3_alignment", "linear_mse", "linear_r2")


class TwoHeads(nn.Module):
    """A head for each target, whose outputs are called as the targets."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.far, self.near = nn.Linear(16, 2), nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        hidden = self.body(inputs)
        return {"far": self.far(hidden), "near": self.near(hidden)}


@pytest.fixture
def network() -> Perceptron:
    torch.manual_seed(0)
    return Perceptron()


def features_of(network: Perceptron, inputs: Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad():
        first = network.first(inputs)
        second = network.second(first)
        found = {"first": first, "second": second, "classifier": network.classifier(second)}
    return {name: value.double().numpy() for name, value in found.items()}


def test_every_layer_has_the_numbers_of_the_oracle(network):
    given, unseen = teacher(), teacher(30, seed=1)
    ds = profile(network, {"train": loader(*given), "test": loader(*unseen)})
    own, test = features_of(network, given[0]), features_of(network, unseen[0])
    targets, others = given[1].numpy(), unseen[1].numpy()
    weight = network.second[0].weight.detach().double().numpy()
    head = network.classifier.weight.detach().double().numpy()
    maps = {"first": weight, "second": head}
    for layer, features in own.items():
        at = ds.isel(epoch=0, target=0).sel(layer=layer)
        train = at.sel(split="train")
        for name in ("nrc1", "nrc1_normalized", "nrc2_cka", "linear_mse", "linear_r2"):
            expected = getattr(oracle, name)(features, targets)
            np.testing.assert_allclose(train[name], expected, rtol=1e-5, atol=1e-12, err_msg=name)
        expected = oracle.linear_mse(test[layer], others, features, targets)
        np.testing.assert_allclose(at["linear_mse"].sel(split="test"), expected, rtol=1e-5)
        if layer in maps:
            np.testing.assert_allclose(train["nrc2"], oracle.nrc2(features, maps[layer]), rtol=1e-5, atol=1e-12)
            expected = oracle.nrc3_alignment(features, targets, maps[layer])
            np.testing.assert_allclose(train["nrc3_alignment"], expected, rtol=1e-5)
        else:
            assert np.isnan(train["nrc2"])
    np.testing.assert_allclose(ds["nrc3"].sel(layer="second")[0, 0, 0], oracle.nrc3(targets, head), rtol=1e-6)
    assert ds["nrc3"].sel(layer=["first", "classifier"]).isnull().all()
    expected = ((own["classifier"] - targets) ** 2).mean()
    np.testing.assert_allclose(ds["network_mse"].sel(split="train").item(), expected, rtol=1e-6)


def test_one_pass_is_planned_and_only_what_applies_is_there(network):
    ds = profile(network, loader(*teacher()))
    schema.validate(ds)
    assert ds.attrs["passes"] == 1
    assert set(REGRESSION) < set(ds.data_vars)
    assert not {"nc1", "ncc_error", "network_error", "class_variance"} & set(ds.data_vars)
    assert ds["nrc1"].dims == ("epoch", "split", "target", "layer")
    assert ds["target_dimensions"].dims == ds["network_mse"].dims == ("epoch", "split", "target")
    assert ds["stable_rank"].notnull().all()
    assert json.loads(ds.attrs["regression"]) == {"label": 3}
    assert not set(REGRESSION) & set(profile(network, loader(*blobs())).data_vars)


def test_what_was_asked_for_and_does_not_apply_is_nan(network):
    ds = profile(network, loader(*teacher()), metrics=["nc1", "nrc1", "class_variance"])
    assert ds["nc1"].isnull().all()
    assert ds["nrc1"].notnull().all()
    assert profile(network, loader(*blobs()), metrics=["nc1", "nrc1"])["nrc1"].isnull().all()


def test_ranks_without_classes_are_those_with_classes(network):
    inputs, labels = blobs()
    ranks = ("stable_rank", "effective_rank", "participation_ratio", "numerical_rank", "feature_norm")
    one, other = (profile(network, loader(inputs, values), metrics=ranks) for values in (labels, inputs[:, :2]))
    for name in ranks:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9)


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_target_of_one_dimension_may_be_a_vector_or_a_column(shape, dtype):
    torch.manual_seed(0)
    network = Perceptron(classes=1)
    inputs, targets = teacher(dimension=1)
    ds = profile(network, loader(inputs, targets.reshape(shape).to(dtype)))
    with torch.no_grad():
        expected = (network(inputs).double() - targets.to(dtype).double()).square().mean()
    np.testing.assert_allclose(ds["network_mse"].item(), expected, rtol=1e-6)
    assert ds["nrc3"].notnull().any()


def test_a_head_that_gives_a_vector_is_known(network):
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Perceptron(classes=1)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.inner(inputs).squeeze(1)

    inputs, targets = teacher(dimension=1)
    ds = profile(Flat(), loader(inputs, targets[:, 0]), metrics=["nrc2", "nrc3"])
    assert ds["network_mse"].notnull().all()
    assert ds["nrc3"].sel(layer="inner.second").notnull().all()


def test_classes_and_numbers_are_measured_in_one_run(network):
    inputs, targets = teacher()
    labels = blobs()[1]
    mixed = profile(network, batches(inputs, {"kind": labels, "value": targets, "first": targets[:, 0]}))
    classes, numbers = (profile(network, loader(inputs, values)) for values in (labels, targets))
    assert mixed["target"].values.tolist() == ["kind", "value", "first"]
    for name in ("nc1", "ncc_error", "probe_error", "weight_alignment"):
        np.testing.assert_allclose(mixed[name].sel(target="kind"), classes[name].isel(target=0), rtol=1e-9)
        assert mixed[name].sel(target=["value", "first"]).isnull().all()
    for name in ("nrc1", "nrc2", "nrc2_cka", "linear_mse", "target_rank"):
        np.testing.assert_allclose(mixed[name].sel(target="value"), numbers[name].isel(target=0), rtol=1e-9)
        assert mixed[name].sel(target="kind").isnull().all()
    assert mixed["class_name"].sel(target="kind").values.tolist() == ["0", "1", "2"]


def test_scores_of_classes_are_not_taken_for_values_of_a_target(network):
    inputs, targets = teacher()
    ds = profile(network, batches(inputs, {"kind": blobs()[1], "value": targets}))
    assert ds["network_error"].sel(target="kind").notnull().all()
    assert ds["network_mse"].isnull().all()
    assert ds["nrc3"].isnull().all()


def test_an_only_output_that_two_targets_fit_is_of_neither(network):
    inputs, targets = teacher()
    ds = profile(network, batches(inputs, {"one": targets, "other": targets + 1}))
    assert ds["network_mse"].isnull().all()
    assert "none" in ds.attrs["regression_output"]


class InATuple(TwoHeads):
    """The outputs of both heads without their names."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(super().forward(inputs).values())


def test_heads_in_a_tuple_are_those_of_targets_called_by_their_places():
    torch.manual_seed(0)
    named = TwoHeads()
    placed = InATuple()
    placed.load_state_dict(named.state_dict())
    inputs, near = teacher()
    far = near[:, :2] * 3
    expected = profile(named, batches(inputs, {"far": far, "near": near}))
    ds = profile(placed, batches(inputs, {"0": far, "1": near}))
    assert expected["network_mse"].notnull().all()
    for name in ("network_mse", "nrc1", "nrc2", "nrc3", "nrc3_alignment", "linear_mse"):
        np.testing.assert_array_equal(ds[name], expected[name])


def test_each_head_of_several_is_held_against_its_own_target():
    torch.manual_seed(0)
    network = TwoHeads()
    inputs, near = teacher()
    far = near[:, :2] * 3
    ds = profile(network, batches(inputs, {"near": near, "far": far})).isel(epoch=0, split=0)
    with torch.no_grad():
        hidden, outputs = network.body(inputs).double().numpy(), network(inputs)
    layer = next(name for name in ds["layer"].values if ds["nrc3"].sel(layer=name).notnull().all())
    for target, values in (("near", near), ("far", far)):
        weight = getattr(network, target).weight.detach().double().numpy()
        at = ds.sel(target=target)
        expected = (outputs[target].double() - values).square().mean()
        np.testing.assert_allclose(at["network_mse"], expected, rtol=1e-6)
        np.testing.assert_allclose(at["nrc3"].sel(layer=layer), oracle.nrc3(values.numpy(), weight), rtol=1e-6)
        np.testing.assert_allclose(at["nrc2"].sel(layer=layer), oracle.nrc2(hidden, weight), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_the_size_of_batches_changes_nothing(network, size):
    whole, cut = profile(network, loader(*teacher(), 16)), profile(network, loader(*teacher(), size))
    for name in (*REGRESSION, "network_mse"):
        np.testing.assert_allclose(whole[name], cut[name], rtol=1e-4, atol=1e-9)


def test_standardised_targets_are_measured_in_units_of_train(network):
    given, unseen = teacher(), teacher(30, seed=1)
    spread = given[1].std(0, correction=0)
    raw = {"train": loader(*given), "test": loader(*unseen)}
    scaled = {"train": loader(given[0], given[1] / spread), "test": loader(unseen[0], unseen[1] / spread)}
    with torch.no_grad():
        one = profile(network, raw, standardize=True)
        network.classifier.weight /= spread[:, None]
        network.classifier.bias /= spread
        other = profile(network, scaled)
    inner = ["first", "second"]
    for name in (*REGRESSION, "network_mse"):
        a, b = ((ds.sel(layer=inner) if "layer" in ds[name].dims else ds)[name] for ds in (one, other))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-10, err_msg=name)
    assert one.attrs["standardize"] == "True"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_target_that_is_not_finite_is_named_with_batch_and_share(network, bad):
    inputs, targets = teacher()
    targets[20, 1] = bad
    with pytest.raises(InvalidLabels, match=r"target 'label' has NaN or infinity in 6\.2% of the samples of batch 1"):
        profile(network, loader(inputs, targets))


def test_samples_without_a_target_are_left_out_of_it_and_counted_if_asked(network):
    inputs, targets = teacher(62)
    gaps, others = targets.clone(), targets[:, 0].clone()
    gaps[60:] = float("nan")
    others[:3] = float("nan")
    spoilt = inputs.clone()
    spoilt[61] = float("nan")
    ds = profile(network, batches(spoilt, {"gaps": gaps, "others": others}), nonfinite="drop")
    clean = profile(network, loader(inputs[:60], targets[:60]))
    for name in (*REGRESSION, "network_mse"):
        np.testing.assert_allclose(ds[name].sel(target="gaps"), clean[name].isel(target=0), rtol=1e-6, atol=1e-9)
    alone = profile(network, loader(inputs[3:61], targets[3:61, 0]))
    np.testing.assert_allclose(ds["linear_mse"].sel(target="others"), alone["linear_mse"].isel(target=0), rtol=1e-6)
    assert json.loads(ds.attrs["without_target"]) == {"train": {"gaps": 2, "others": 3}}
    assert json.loads(ds.attrs["left_out"])["train"]["first"] == 1


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (torch.zeros(4, dtype=torch.int64), r"shape \(n, 3\), as in the first batch; in batch 1 it is torch.int64"),
        (torch.zeros(4, 2), r"in batch 1 it is torch.float32 of shape \(4, 2\)"),
        (torch.zeros(4, 3, 1), r"of shape \(4, 3, 1\)"),
    ],
)
def test_targets_that_change_their_form_are_refused(network, later, message):
    inputs, targets = teacher(8)
    with pytest.raises(InvalidLabels, match=message):
        profile(network, [(inputs[:4], targets[:4]), (inputs[4:], later)])


@pytest.mark.parametrize("targets", [torch.zeros(8, 2, 2), torch.zeros(8, 0)])
def test_targets_of_another_shape_are_refused(network, targets):
    with pytest.raises(InvalidLabels, match=r"\(n,\) or \(n, q\) is needed"):
        profile(network, [(teacher(8)[0], targets)])


def test_classes_declared_for_numbers_are_refused(network):
    inputs, targets = teacher()
    data = batches(inputs, {"kind": blobs()[1], "value": targets})
    with pytest.raises(InvalidLabels, match="'value' must be integers, since classes were declared"):
        profile(network, data, classes={"value": 3})
    assert profile(network, data, classes=3, metrics="nc1")["nc1"].sel(target="kind").notnull().all()


def test_wide_layers_are_measured_on_a_projection_and_say_so(monkeypatch):
    from layerwise.passes import plan

    monkeypatch.setattr(plan, "_WIDEST_COVARIANCE", 64)
    monkeypatch.setattr(plan, "_NARROWEST_COVARIANCE", 64)
    monkeypatch.setattr(plan, "_WIDEST_OWN", 64)
    monkeypatch.setattr(plan, "_MOST_SPANNED", 0)
    monkeypatch.setattr(plan, "_MOST_COMPARED", 40)
    torch.manual_seed(0)
    inputs = torch.randn(80, 3, 6, 6)
    targets = inputs.mean((2, 3))
    ds = profile(Convolutional(), loader(inputs, targets), reduce="flatten")
    wide = ds["features"] > 64
    assert wide.any()
    assert (ds["covariance_features"].where(wide, drop=True) == 64).all()
    for name in ("nrc1", "nrc2_cka", "target_rank"):
        assert ds[name].notnull().all(), name
        assert (ds[f"{name}_projection_error"] >= 0).where(wide, drop=True).all(), name
    # Without the projection a fit to so few samples is empty, and a map that reads the features does not read those of
    # the projection.
    for name in ("linear_mse", "nrc2"):
        assert ds[name].where(wide, drop=True).isnull().all(), name


def test_a_profile_goes_on_where_it_was_killed(network, tmp_path):
    class Interrupted(BaseException):
        """In place of a kill."""

    class Loader:
        """Batches that stop after so many."""

        def __init__(self, left: float) -> None:
            self.left = left
            self.dataset = range(60)

        def __iter__(self):
            for batch in loader(*teacher()):
                if self.left <= 0:
                    raise Interrupted
                self.left -= 1
                yield batch

    expected = profile(network, Loader(torch.inf))
    with pytest.raises(Interrupted):
        profile(network, Loader(3), resume_dir=ResumeState(tmp_path / "kept", every=0))
    runs: list[int] = []
    network.register_forward_hook(lambda module, args, output: runs.append(len(output)))
    found = profile(network, Loader(torch.inf), resume_dir=ResumeState(tmp_path / "kept", every=0))
    xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))
    # Of four batches three were done; the first is run once more, to prove the network.
    assert len([size for size in runs if size > 4]) == 2


def test_a_tracked_run_is_kept_printed_and_drawn(network, tmp_path, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    splits = {"train": loader(*teacher()), "test": loader(*teacher(30, seed=1))}
    with Tracker(network, splits, store=tmp_path / "runs.lw", run="a") as tracker:
        for epoch in range(2):
            tracker.measure(epoch)
    ds = open_store(tmp_path / "runs.lw")["a"].load()
    assert ds["nrc1"].sizes["epoch"] == 2
    head = profile_table(ds, "train").splitlines()[0].split()
    assert head == ["depth", "nrc1", "nrc2", "nrc2_cka", "nrc3", "nrc3_alignment", "linear_r2", "target_rank"]
    assert summary(ds) == (
        "regression: 99% of the variance over the train samples lies in 3 of the target's directions "
        f"and in {int(ds['target_rank'].sel(split='train', layer='second')[-1, 0])} of 16 of second"
    )
    plot.depth_heatmap(ds)
    plot.epoch_heatmap(ds, "nrc1")
    plot.depth_curve(ds, "nrc2_cka")
    plot.phase_plot(ds, "nrc1", error="network_mse")
    matplotlib.pyplot.close("all")


class Deep(nn.Module):
    """A plain network of four hidden layers with biases."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        pairs = pairwise([8, 32, 32, 32, 32])
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(one, other), nn.ReLU()) for one, other in pairs))
        self.head = nn.Linear(32, dimension)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.layers(inputs))


@pytest.fixture(scope="module")
def trained() -> dict[float, xr.Dataset]:
    """Profiles of networks that were trained on a linear teacher of two dimensions, by their weight decay."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 8, generator=generator)
    targets = inputs @ torch.randn(8, 2, generator=generator) / 3
    found = {}
    for decay in (1e-2, 0.0):
        torch.manual_seed(0)
        network = Deep(2)
        # Biases go free: they move the rectifiers to where they are linear.
        weights, biases = ([p for p in network.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
        groups = [{"params": weights, "weight_decay": decay}, {"params": biases}]
        optimiser = torch.optim.SGD(groups, 0.05, momentum=0.9)
        for _ in range(2500):
            optimiser.zero_grad()
            (network(inputs) - targets).square().mean().backward()
            optimiser.step()
        found[decay] = profile(network, loader(inputs, targets, 50)).isel(epoch=0, split=0, target=0)
    return found


def test_weight_decay_collapses_the_top_layers_onto_the_directions_of_the_target(trained):
    top = [f"layers.{number}" for number in (1, 2, 3)]
    collapsed, control = (trained[decay].sel(layer=top) for decay in (1e-2, 0.0))
    assert (collapsed["nrc1"] < 1e-3).all()
    assert (control["nrc1"] > 1e-2).all()
    assert (collapsed["nrc3_alignment"] > 0.99).all()
    assert (control["nrc3_alignment"] < 0.95).all()
    assert (collapsed["target_rank"] == collapsed["target_dimensions"]).all()
    assert (control["target_rank"] > control["target_dimensions"]).all()
