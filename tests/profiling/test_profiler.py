"""A profile has the numbers of its definition, in the form of the schema, however it was computed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import oracle
from helpers.networks import Convolutional, Perceptron, blobs, loader

from layerwise import schema
from layerwise.network.capture import Capture
from layerwise.network.inference import evaluating
from layerwise.profiling import Profiler, profile
from layerwise.settings import Settings
from layerwise.studies.networks import ResidualMLP
from layerwise.studies.training import Recipe, train

CLASSIFICATION = ("nc1", "nc1_trace", "cdnv", "etf_error", "equinorm", "max_angle")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Perceptron()


@pytest.fixture
def splits():
    return {"train": loader(*blobs()), "test": loader(*blobs(30, seed=1))}


def features_of(network: Perceptron, inputs: torch.Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad():
        first = network.first(inputs)
        second = network.second(first)
        logits = network.classifier(second)
    found = {"first": first, "second": second, "classifier": logits}
    return {name: value.double().numpy() for name, value in found.items()}


def test_every_layer_has_the_numbers_of_the_oracle(network, splits):
    ds = profile(network, splits)
    inputs, labels = blobs()
    test_inputs, test_labels = blobs(30, seed=1)
    own, test = features_of(network, inputs), features_of(network, test_inputs)
    assert set(ds["layer"].values) >= set(own)
    eps = torch.finfo(torch.float32).eps
    for layer, features in own.items():
        at = ds.isel(epoch=0, target=0).sel(layer=layer)
        for name in CLASSIFICATION:
            arguments = {"eps": eps} if name == "nc1" else {}
            expected = getattr(oracle, name)(features, labels.numpy(), **arguments)
            np.testing.assert_allclose(at[name].sel(split="train"), expected, rtol=1e-5)
        means = oracle.class_means(features, labels.numpy())
        expected = oracle.ncc_error(test[layer], test_labels.numpy(), means=means)
        np.testing.assert_allclose(at["ncc_error"].sel(split="test"), expected)
        predicted = own["classifier"].argmax(1)
        expected = oracle.ncc_mismatch(features, labels.numpy(), predicted, means=means)
        np.testing.assert_allclose(at["ncc_mismatch"].sel(split="train"), expected)


def test_the_classifier_is_compared_with_the_layer_that_feeds_it(network, splits):
    ds = profile(network, splits, metrics=["self_duality"]).isel(epoch=0, target=0).sel(split="train")
    inputs, labels = blobs()
    weight = network.classifier.weight.detach().double().numpy()
    features = features_of(network, inputs)["second"]
    feeds = ds["self_duality"].where(ds["role"] == "features", drop=True)
    np.testing.assert_allclose(feeds.item(), oracle.self_duality(features, labels.numpy(), weight), rtol=1e-5)
    assert ds["self_duality"].where(ds["role"] != "features", drop=True).isnull().all()


def test_dims_come_in_the_order_of_the_schema_and_are_never_dropped(network, splits):
    ds = profile(network, splits["train"])
    schema.validate(ds)
    assert ds["nc1"].dims == ("epoch", "split", "target", "layer")
    assert ds["class_variance"].dims == ("epoch", "split", "target", "layer", "class")
    assert ds["stable_rank"].dims == ("epoch", "split", "layer")
    assert ds["network_error"].dims == ("epoch", "split", "target")
    assert dict(ds.sizes) | {"layer": 0} == {"epoch": 1, "split": 1, "target": 1, "layer": 0, "class": 3}


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
def test_a_profile_round_trips_unchanged(network, splits, tmp_path, form):
    ds = profile(network, splits)
    if form == "netcdf":
        ds.to_netcdf(tmp_path / "profile.nc")
        read = xr.load_dataset(tmp_path / "profile.nc")
    else:
        ds.to_zarr(tmp_path / "profile.zarr", consolidated=False, zarr_format=2)
        read = xr.open_zarr(tmp_path / "profile.zarr", consolidated=False).load()
    xr.testing.assert_identical(read, ds)


def test_the_second_pass_gives_the_same_from_memory_from_disk_and_from_a_second_run(network, splits, monkeypatch):
    from layerwise.passes import plan

    from_memory = profile(network, splits)
    monkeypatch.setattr(plan, "_CACHE_SHARE", 0.0)
    from_disk = profile(network, splits)
    monkeypatch.setattr(plan, "_WIDEST_KEPT", 0)
    rerun = profile(network, splits)
    assert [ds.attrs["forwards"] for ds in (from_memory, from_disk, rerun)] == [1, 1, 2]
    assert "temporary file" in from_disk.attrs["plan"]
    xr.testing.assert_equal(from_memory, from_disk)
    # A second run sums batch by batch what is read back many batches at a time.
    xr.testing.assert_allclose(from_memory, rerun, rtol=1e-13, atol=0)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_the_size_of_batches_changes_nothing(network, size):
    whole = profile(network, loader(*blobs(), 16))
    cut = profile(network, loader(*blobs(), size))
    for name in CLASSIFICATION:
        np.testing.assert_allclose(whole[name], cut[name], rtol=1e-4)


def test_an_activation_in_place_does_not_change_what_was_captured():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(inplace=True), torch.nn.Linear(6, 3))
    inputs, labels = torch.randn(24, 8), torch.arange(24) % 3
    ds = profile(network, loader(inputs, labels), layers=["0"], metrics=["nc1_trace"])
    with torch.no_grad():
        features = network[0](inputs).double().numpy()
    np.testing.assert_allclose(ds["nc1_trace"].item(), oracle.nc1_trace(features, labels.numpy()), rtol=1e-5)


def test_several_targets_are_measured_in_the_same_run(network):
    inputs, fine = blobs(classes=3)
    targets = {"fine": fine, "coarse": (fine > 0).long()}
    batches = [
        (inputs[i : i + 16], {name: value[i : i + 16] for name, value in targets.items()}) for i in (0, 16, 32, 48)
    ]
    both = profile(network, batches)
    alone = profile(network, loader(inputs, targets["coarse"]), metrics=["nc1", "ncc_error"])
    assert both["target"].values.tolist() == ["fine", "coarse"]
    np.testing.assert_allclose(both["nc1"].sel(target="coarse"), alone["nc1"].isel(target=0), rtol=1e-10)
    assert both["ncc_mismatch"].sel(target="fine").notnull().all()
    assert both["ncc_mismatch"].sel(target="coarse").isnull().all()


def test_the_classifier_of_other_classes_is_never_taken_for_the_target(splits):
    ds = profile(Perceptron(classes=5), splits)
    assert ds["ncc_mismatch"].isnull().all()
    assert ds["network_error"].isnull().all()
    assert "none" in ds.attrs["classifier"]
    declared = profile(Perceptron(classes=5), splits, classes=5)
    assert declared["ncc_mismatch"].notnull().all()
    assert json.loads(declared.attrs["absent_classes"])["train"]["label"] == [3, 4]


def test_class_names_come_with_the_profile(network, splits):
    ds = profile(network, splits, classes=["cat", "dog", "owl"])
    assert ds["class_name"].values.tolist() == [["cat", "dog", "owl"]]


def test_wide_layers_say_what_their_covariance_was_taken_of(monkeypatch):
    from layerwise.passes import plan

    monkeypatch.setattr(plan, "_WIDEST_COVARIANCE", 64)
    monkeypatch.setattr(plan, "_NARROWEST_COVARIANCE", 64)
    monkeypatch.setattr(plan, "_WIDEST_OWN", 64)
    monkeypatch.setattr(plan, "_MOST_SPANNED", 0)
    inputs, labels = torch.randn(40, 3, 6, 6), torch.arange(40) % 3
    ds = profile(Convolutional(), loader(inputs, labels), reduce="flatten")
    wide = ds["features"] > 64
    assert wide.any()
    assert (ds["covariance_features"].where(wide, drop=True) == 64).all()
    assert (ds["covariance_error"] > 0).equals(wide.drop_vars(set(wide.coords) - set(ds["covariance_error"].coords)))
    assert ds["stable_rank"].notnull().all()


def test_a_sketch_states_its_width_and_error():
    inputs, labels = torch.randn(40, 3, 6, 6), torch.arange(40) % 3
    ds = profile(Convolutional(), loader(inputs, labels), reduce="sketch:50")
    stem = ds.isel(layer=0)
    assert stem["features"] == 50
    assert stem["reduction"] == "sketch:50"
    np.testing.assert_allclose(stem["reduction_error"], np.sqrt(2 / 50))


def test_attributes_tell_how_to_get_the_profile_again(network, splits):
    ds = profile(network, splits, convention="papyan", seed=3, memory="1GiB")
    backwards = {name: batches[::-1] for name, batches in splits.items()}
    again = profile(network, backwards, convention="papyan", seed=3, memory="1GiB")
    for name in ("model", "model_hash", "data_fingerprint", "samples", "convention", "seed", "packages", "plan"):
        assert ds.attrs[name] == again.attrs[name], name
    assert json.loads(ds.attrs["samples"]) == {"train": 60, "test": 30}
    with torch.no_grad():
        network.classifier.bias += 1
    assert profile(network, splits).attrs["model_hash"] != ds.attrs["model_hash"]


def test_a_profiler_measures_the_network_as_it_is_at_the_time(network, splits):
    profiler = Profiler(network, splits, settings=Settings(metrics="nc1"))
    before = profiler.measure(0)
    with torch.no_grad():
        network.first[0].weight.mul_(torch.linspace(0, 2, 8))
    after = profiler.measure(5, step=500)
    assert not np.allclose(before["nc1"].values, after["nc1"].values)
    assert after["epoch"].values.tolist() == [5]
    assert after["step"].values.tolist() == [500]


@pytest.mark.parametrize("trained", [False, True])
def test_the_least_squares_loss_splits_as_it_must_at_every_layer(trained):
    """The central path of Han, Papyan & Donoho 2021, from the library's own statistics."""
    torch.manual_seed(0)
    inputs, labels = blobs(120, features=12, classes=4)
    network = ResidualMLP(12, classes=4, width=12, depth=3).double()
    if trained:
        pytest.importorskip("accelerate")
        train(network, inputs.double(), labels, Recipe(epochs=5))
    captured: dict[str, torch.Tensor] = {}
    profiler = Profiler(network, loader(inputs.double(), labels), settings=Settings(metrics=["vci", "nc1"]))
    with (
        evaluating(network),
        Capture(network, profiler.layers, lambda layer, value: captured.update({layer.name: value})),
    ):
        network(inputs.double())
    measured = profiler.measure()
    for layer, features in captured.items():
        fitted, closed = oracle.han_identities(features.numpy(), labels.numpy())
        np.testing.assert_allclose(fitted.total, closed.total, rtol=1e-6)
        np.testing.assert_allclose(fitted.within, closed.within, rtol=1e-6)
        # 2 C times the loss is the sum of 1/(1+q) over C-1 directions: C-1 times the variability collapse index.
        vci = measured["vci"].sel(layer=layer).item()
        full = min(features.shape[1], 3)
        np.testing.assert_allclose(2 * 4 * fitted.total, vci * full + (3 - full), rtol=1e-6)
