"""Whatever a caller gets wrong is one clear error, and leaves model and store as they were."""

from __future__ import annotations

import json

import pytest
import torch
import xarray as xr
from helpers.networks import Perceptron, blobs, loader
from torch import nn

from layerwise import errors
from layerwise.errors import BudgetExceeded, InvalidData, LayerwiseError, NotRepeatable
from layerwise.profiling import profile
from layerwise.settings import Settings
from layerwise.store import open_store
from layerwise.training.tracker import Tracker


@pytest.fixture
def network():
    return Perceptron()


def hooks_of(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def test_an_unknown_layer_is_named_with_the_nearest(network):
    with pytest.raises(errors.UnknownName, match=r"no layer 'frist'.*first"):
        profile(network, loader(*blobs()), layers=["frist"])


def test_a_layer_that_never_fires_is_named(network):
    network.spare = nn.Linear(2, 2)
    with pytest.raises(errors.LayerNeverFired, match="spare"):
        profile(network, loader(*blobs()), layers=["spare"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.rand(60), "must be integers, since classes were declared"),
        (torch.zeros(60, 2, dtype=torch.int64), "must be integers of shape"),
        (torch.full((60,), -1), "label -1 .* outside the classes"),
        (torch.full((60,), 7), r"label 7 .* outside the classes, 0 \.\. 2"),
    ],
)
def test_labels_that_are_no_classes_are_refused(network, labels, message):
    with pytest.raises(errors.InvalidLabels, match=message):
        profile(network, loader(blobs()[0], labels), classes=3)


def test_one_class_only_is_told_and_its_numbers_are_nan(network):
    with pytest.warns(UserWarning, match=r"split 'train' has 1 class of target 'label'"):
        ds = profile(network, loader(blobs()[0], torch.zeros(60, dtype=torch.int64)), metrics=["nc1", "feature_norm"])
    assert ds["nc1"].isnull().all()
    assert ds["feature_norm"].notnull().all()


def test_an_empty_loader_is_refused(network):
    with pytest.raises(errors.EmptyData, match="split 'train' is empty"):
        profile(network, [])


def test_an_empty_second_split_is_refused(network):
    with pytest.raises(errors.EmptyData, match="split 'test'"):
        profile(network, {"train": loader(*blobs()), "test": []})


def test_a_loader_that_runs_once_is_refused_where_it_must_run_again(network, monkeypatch):
    class Once:
        def __init__(self):
            self.batches = loader(*blobs())

        def __iter__(self):
            while self.batches:
                yield self.batches.pop(0)

    monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
    with pytest.raises(errors.NotRepeatable, match="repeats itself"):
        profile(network, Once())


def test_an_iterator_is_enough_where_its_features_can_wait(network):
    once = profile(network, iter(loader(*blobs())))
    xr.testing.assert_equal(once, profile(network, loader(*blobs())))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_named_by_layer_batch_and_share(network, bad):
    inputs, labels = blobs()
    inputs[20] = bad
    with pytest.raises(errors.NonFiniteFeatures, match=r"layer 'first' .* 6\.2% of the samples of batch 1"):
        profile(network, loader(inputs, labels))
    assert hooks_of(network) == 0


def test_samples_that_are_not_finite_are_left_out_and_counted_if_asked(network):
    inputs, labels = blobs(61, classes=3)
    spoilt = inputs.clone()
    spoilt[60] = float("nan")
    ds = profile(network, loader(spoilt, labels), nonfinite="drop", metrics=["nc1", "ncc_error"])
    clean = profile(network, loader(inputs[:60], labels[:60]), metrics=["nc1", "ncc_error"])
    assert '"first": 1' in ds.attrs["left_out"]
    torch.testing.assert_close(torch.tensor(ds["nc1"].values), torch.tensor(clean["nc1"].values))


def test_a_path_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a store")
    with pytest.raises(errors.NotAStore, match=r"notes\.txt"):
        open_store(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet19", "no timm model 'resnet19'; nearest: resnet18"),
        ("nonsense", "no model 'nonsense'"),
        ("tim/resnet18", "no kind of model 'tim'; nearest: timm"),
        ("helpers.networks:Perceptrn", "no function in helpers.networks 'Perceptrn'; nearest: Perceptron"),
        ("no_such_module:f", "no Python module 'no_such_module'"),
    ],
)
def test_a_model_name_that_is_not_found_is_told_with_the_nearest(name, message):
    with pytest.raises(errors.UnknownName, match=message):
        profile(name, loader(*blobs()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "nc7"}, "no metric 'nc7'; nearest: nc1"),
        ({"reduce": "average"}, "no reduction 'average'"),
        ({"convention": "papian"}, "no convention 'papian'; nearest: papyan"),
    ],
)
def test_an_unknown_option_is_told_with_the_nearest(network, options, message):
    with pytest.raises(errors.UnknownName, match=message):
        profile(network, loader(*blobs()), **options)


def test_a_budget_that_is_too_small_is_refused_with_numbers(network):
    with pytest.raises(errors.BudgetExceeded, match=r"memory budget is 1\.0 KiB"):
        profile(network, loader(*blobs()), memory=1024)


def test_a_failure_in_the_middle_leaves_no_hooks_and_the_modes_as_they_were(network):
    network.train()
    network.second.eval()

    def broken():
        yield from loader(*blobs())[:2]
        raise OSError("the disk is gone")

    class Broken:
        def __iter__(self):
            return broken()

    told = "split 'train', batch 2, pass 1: reading the data failed: OSError: the disk is gone"
    with pytest.raises(errors.RunFailed, match=told) as failed:
        profile(network, Broken())
    assert isinstance(failed.value.__cause__, OSError)
    assert hooks_of(network) == 0
    assert network.training
    assert network.first.training
    assert not network.second.training


class Once:
    """Batches that are gone once they were given, though it is no iterator."""

    def __init__(self, batches):
        self.batches = list(batches)

    def __iter__(self):
        while self.batches:
            yield self.batches.pop(0)


def test_what_runs_only_once_loses_no_batch(network):
    found = profile(network, Once(loader(*blobs())))
    assert json.loads(found.attrs["samples"]) == {"train": 60}
    xr.testing.assert_identical(found.drop_attrs(deep=False), profile(network, loader(*blobs())).drop_attrs(deep=False))


def test_classes_beyond_the_budget_are_refused_before_the_run_or_when_they_turn_up(network):
    x, y = blobs()
    batches = [(x, y), *((x, 1000 * number + torch.arange(60)) for number in range(1, 200))]
    with pytest.raises(BudgetExceeded, match="the class means of 11943 classes in 3 layers"):
        profile(network, batches, memory="1MiB", metrics="nc1_trace")
    with pytest.raises(BudgetExceeded, match=r"there are [\d,]+ classes by now, whose means take"):
        profile(network, iter(batches), memory="1MiB", metrics="nc1_trace")


def test_options_go_before_settings(network):
    found = profile(network, loader(*blobs()), settings=Settings(metrics="nc1", layers="blocks"), layers="first")
    assert found["layer"].values.tolist() == ["first"]
    assert list(found.data_vars) == ["network_error", "nc1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nonfinite": "ignore"}, "no way to treat NaN 'ignore'; there are: raise, drop"),
        ({"ridge": -1.0}, "ridge=-1.0: the regularisation is a number of 0 or more"),
        ({"reduce": "sketch:000"}, "no reduction 'sketch:000'"),
        ({"reduce": "grid:²"}, "no reduction 'grid:²'"),
        ({"classes": 0}, "classes=0: classes are a number above 0 or a list of names"),
        ({"classes": "ten"}, "classes='ten': classes are a number above 0"),
        ({"classes": {"lable": 3}}, "no target 'lable'; nearest: label"),
        ({"layers": []}, r"no layer 'chosen by \[\]'"),
        ({"layers": lambda layer: False}, "no layer 'chosen by the function <lambda>'"),
        ({"device": "coda"}, "cannot be brought to 'coda'"),
    ],
)
def test_settings_that_cannot_be_are_refused(network, options, message):
    with pytest.raises(LayerwiseError, match=message):
        profile(network, loader(*blobs()), **options)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (lambda x, y: [(x, y), (x, {"other": y})], "a batch has labels of other, the first had labels of label"),
        (lambda x, y: [(x, y[:30])], "a batch has 60 inputs and 30 labels"),
        (lambda x, y: [(x, ["a", "b"] * 30)], "labels of 'label' must be numbers, not 'a'"),
        (lambda x, y: [(x[:, :5], y)], "the network fails on the first batch: RuntimeError"),
        (lambda x, y: [(x[:0], y[:0])], "split 'train' is empty"),
    ],
)
def test_batches_that_do_not_fit_are_told(network, batches, message):
    with pytest.raises(LayerwiseError, match=message):
        profile(network, batches(*blobs()))


def test_an_empty_batch_among_others_is_passed_over(network):
    x, y = blobs()
    found = profile(network, [(x[:30], y[:30]), (x[:0], y[:0]), (x[30:], y[30:])], metrics="nc1")
    assert json.loads(found.attrs["samples"]) == {"train": 60}


def test_numpy_arrays_are_inputs_too(network):
    x, y = blobs()
    found = profile(network, [(x.numpy().astype(float), y.numpy())], metrics="nc1")
    xr.testing.assert_identical(found["nc1"], profile(network, [(x, y)], metrics="nc1")["nc1"])


def test_a_layer_without_one_finite_sample_is_nan_if_they_are_left_out(network):
    network.second.register_forward_hook(lambda module, args, output: output * torch.nan)
    found = profile(network, {"train": loader(*blobs()), "test": loader(*blobs(30))}, nonfinite="drop")
    assert bool(found["nc1"].sel(layer="first").notnull().all())
    assert bool(found["nc1"].sel(layer="second").isnull().all())
    assert json.loads(found.attrs["left_out"])["train"]["second"] == 60


def test_what_is_no_network_is_refused():
    with pytest.raises(InvalidData, match="a torch module or a name such as 'timm/resnet50', not a int"):
        profile(3, loader(*blobs()))


def test_a_tracker_refuses_a_loader_that_runs_once_before_training(network):
    with pytest.raises(NotRepeatable, match="again and again"):
        Tracker(network, iter(loader(*blobs())))


def test_scores_beside_other_outputs_are_found_in_the_network(network):
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, inputs):
            features = self.network.second(self.network.first(inputs))
            return features, self.network.classifier(features)

    found = profile(Both(), loader(*blobs()))
    expected = profile(network, loader(*blobs()))
    assert float(found["network_error"].squeeze()) == float(expected["network_error"].squeeze())
    assert bool(found["ncc_mismatch"].notnull().all())


def test_it_is_said_why_no_prediction_is_compared(network):
    x, y = blobs()
    assert profile(network, [(x, y)], classes=5).attrs["classifier"] == (
        "none: the network has 3 scores for 5 classes of label"
    )
    assert profile(network.first, [(x, y)]).attrs["classifier"].startswith("none: the network has ")
