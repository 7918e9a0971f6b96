"""Classes are what occurs, whatever numbers they have: ids change no number, and no number grows with them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import oracle
from helpers.class_ids import IDS, network, samples
from helpers.interrupted import through_kills
from helpers.networks import loader
from helpers.positions import Tagger
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from layerwise.errors import InvalidLabels
from layerwise.passes.resume import ResumeState
from layerwise.profiling import profile as measure

TESTS = Path(__file__).parents[1]

# What is free otherwise changes from one moment to the next.
profile = partial(measure, memory="1GiB")


def cut(inputs: Tensor, labels: Tensor, cuts: list[int]) -> list[tuple[Tensor, Tensor]]:
    places = sorted({place for place in cuts if 0 < place < len(labels)})
    return list(zip(inputs.tensor_split(places), labels.tensor_split(places), strict=True))


def assert_same(one: xr.Dataset, other: xr.Dataset, classes: list[int] | None = None) -> None:
    """Every number is the same; those of classes once they are in the same order."""
    assert set(one) == set(other)
    for name in one:
        found = other[name]
        if classes is not None and "class" in found.dims:
            found = found.isel({"class": classes})
        np.testing.assert_allclose(found.values, one[name].values, rtol=1e-8, atol=1e-10, err_msg=str(name))


class TestRelabelling:
    @given(st.lists(st.integers(0, 2**45), min_size=4, max_size=4, unique=True), st.booleans())
    @settings(max_examples=8, deadline=None)
    def test_changes_no_number(self, ids, other_test):
        new = torch.tensor(ids)
        (x, y), (u, v) = samples(), samples(40, seed=1)
        if other_test:
            # Test has a class that train lacks, and lacks one that train has.
            x, y, u, v = x[y != 3], y[y != 3], u[v != 0], v[v != 0]
        options = {"jackknife": 3, "null": 3}
        plain = profile(network(7), {"train": loader(x, y), "test": loader(u, v)}, **options)
        named = profile(network(7), {"train": loader(x, new[y]), "test": loader(u, new[v])}, **options)
        assert_same(plain, named, classes=new.argsort().argsort().tolist())
        assert named["class_name"].values[0].tolist() == [str(label) for label in sorted(ids)]

    def test_that_keeps_the_order_keeps_the_predictions_too(self):
        x, y = samples()
        plain = profile(network(), loader(x, y))
        named = profile(network(), loader(x, 7 + 1000 * y))
        assert plain["ncc_mismatch"].notnull().all()
        assert_same(plain, named)
        assert json.loads(named.attrs["class_scores"]) == {"label": "in ascending order"}

    @pytest.mark.parametrize("rerun", [False, True])
    def test_changes_nothing_in_a_second_run(self, rerun, monkeypatch):
        if rerun:
            monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
        x, y = samples()
        ids = torch.tensor(sorted(IDS))
        metrics = ["nc1", "ncc_error", "ncc_mismatch", "class_ncc_error", "geometric_complexity"]
        plain = profile(network(), loader(x, y), metrics=metrics)
        named = profile(network(), loader(x, ids[y]), metrics=metrics)
        assert_same(plain, named)


class TestTheCutIntoBatches:
    @given(st.lists(st.integers(1, 99), max_size=6))
    @settings(max_examples=8, deadline=None)
    def test_changes_nothing(self, cuts):
        x, y = samples()
        ids = torch.tensor(IDS)
        options = {"jackknife": 3, "null": 3, "metrics": ["nc1", "ncc_error", "ncc_mismatch", "class_count", "vci"]}
        whole = profile(network(), [(x, ids[y])], **options)
        assert_same(whole, profile(network(), cut(x, ids[y], cuts), **options))


def test_a_test_split_has_its_own_classes_and_is_judged_by_the_means_of_train():
    (x, y), (u, v) = samples(), samples(40, seed=1)
    x, y, u, v = x[y != 1], y[y != 1], u[v != 3], v[v != 3]
    ids = torch.tensor([20, 10, 5, 30])
    net = network()
    ds = profile(net, {"train": loader(x, ids[y]), "test": loader(u, ids[v])}).isel(epoch=0, target=0)
    with torch.no_grad():
        own, other = net.first(x).numpy(), net.first(u).numpy()
    at = ds.sel(layer="first", split="test")
    means = oracle.class_means(own, ids[y].numpy())
    assert at["ncc_error"].item() == oracle.ncc_error(other, ids[v].numpy(), means=means)
    assert ds["class_name"].values.tolist() == ["5", "10", "20", "30"]
    counts = {str(label): int((ids[v] == label).sum()) for label in sorted(ids.tolist())}
    assert dict(zip(ds["class_name"].values, at["class_count"].fillna(0).astype(int).values, strict=True)) == counts
    assert json.loads(ds.attrs["absent_classes"])["test"] == {"label": [30]}


def test_declared_classes_keep_their_places_and_absent_ones_are_named():
    x, y = samples()
    x, y = x[y != 1], y[y != 1]
    ds = profile(network(), loader(x, y), classes=4)
    assert ds.sizes["class"] == 4
    assert json.loads(ds.attrs["absent_classes"])["train"] == {"label": [1]}
    assert json.loads(ds.attrs["classifier"]) == ["label"]


def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
    x, y = samples()
    ids = torch.tensor(IDS)
    splits = {"train": loader(x, ids[y]), "test": loader(x[60:], ids[y[60:]])}
    net = network()
    again = partial(profile, net, splits, jackknife=3)
    expected = again()
    found = through_kills(net, lambda: again(resume_dir=ResumeState(tmp_path / "kept", every=0)), forwards=4)
    xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))


WORKER = """
import sys
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from helpers.class_ids import IDS, network, samples
from layerwise.profiling import profile

torch.distributed.init_process_group("gloo")
ids = torch.tensor(IDS)
parts = {"train": samples(61), "test": samples(31, seed=1)}
data = {name: TensorDataset(x, ids[y]) for name, (x, y) in parts.items()}
loaders = {
    name: DataLoader(part, batch_size=8, sampler=DistributedSampler(part, shuffle=False)) for name, part in data.items()
}
found = profile(network(), loaders, null=3)
found.to_netcdf(f"profile-{torch.distributed.get_rank()}.nc", engine="h5netcdf")
torch.distributed.destroy_process_group()
"""


def test_two_processes_meet_classes_in_another_order_and_measure_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "worker.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ids = torch.tensor(IDS)
    parts = {"train": samples(61), "test": samples(31, seed=1)}
    expected = profile(network(), {name: loader(x, ids[y], 8) for name, (x, y) in parts.items()}, null=3)
    for number in (0, 1):
        with xr.open_dataset(tmp_path / f"profile-{number}.nc", engine="h5netcdf") as found:
            assert found["class_name"].values.tolist() == expected["class_name"].values.tolist()
            plain = [str(name) for name in expected if "_null" not in str(name)]
            assert_same(expected[plain], found.load()[plain])


class TestEveryToken:
    @pytest.mark.parametrize("limit", [None, 5])
    def test_gaps_change_nothing_and_ignored_labels_stay_ignored(self, limit):
        torch.manual_seed(0)
        net = Tagger()
        tokens = torch.randint(0, 12, (10, 7))
        labels = tokens % 3
        labels[:, ::4] = -100
        ids = torch.tensor([11, 500, 70_000])
        named = torch.where(labels < 0, labels, ids[labels.clamp_min(0)])
        plain, found = (
            profile(net, loader(tokens, own, 4), reduce="tokens", samples_per_class=limit) for own in (labels, named)
        )
        if limit is None:
            assert_same(plain, found)
        assert (
            found["class_count"].isel(layer=0).values.ravel().tolist()
            == plain["class_count"].isel(layer=0).values.ravel().tolist()
        )
        assert found["class_name"].values[0].tolist() == ["11", "500", "70000"]

    def test_a_coarser_resolution_may_have_other_labels(self):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 4, 3, stride=2, padding=1))
        inputs, labels = torch.randn(6, 3, 8, 8), 1000 * torch.randint(1, 4, (6, 8, 8))
        labels[:, 1::2, 1::2][labels[:, 1::2, 1::2] == 3000] = 1000
        labels[0, 0, 0] = 255
        plain = torch.where(labels == 255, labels, labels // 1000 - 1)
        options = {"reduce": "pixels", "layers": ["0", "1"]}
        expected = profile(net, loader(inputs, plain, 4), **options)
        assert_same(expected, profile(net, loader(inputs, labels, 4), **options))


class TestForms:
    def test_columns_booleans_and_one_hot_rows_are_classes(self, caplog):
        x, y = samples()
        expected = profile(network(), loader(x, y))
        assert_same(expected, profile(network(), loader(x, y[:, None])))
        hot = nn.functional.one_hot(y)
        assert_same(expected, profile(network(), loader(x, hot)))
        assert "labels of 'label' are one-hot, of 4 classes" in caplog.text
        two = profile(network(2), loader(x, y > 1))
        assert_same(profile(network(2), loader(x, (y > 1).long())), two)
        assert two["class_name"].values[0].tolist() == ["False", "True"]

    def test_one_hot_rows_have_a_class_for_every_column(self):
        x, y = samples()
        ds = profile(network(6), loader(x, nn.functional.one_hot(y, 6)))
        assert ds["ncc_mismatch"].notnull().all()
        assert json.loads(ds.attrs["absent_classes"])["train"] == {"label": [4, 5]}

    @pytest.mark.parametrize("late", [False, True])
    def test_several_classes_of_a_sample_are_refused(self, late):
        x, y = samples()
        hot = nn.functional.one_hot(y)
        hot[-1 if late else 0, :2] = 1
        with pytest.raises(InvalidLabels, match="multi-label data has: every column is a target of its own"):
            profile(network(), loader(x, hot))

    @pytest.mark.parametrize("asked", ["nc1", ["nc1", "ncc_error"]])
    def test_floats_that_are_classes_are_refused_where_class_metrics_are_asked_for(self, asked):
        x, y = samples()
        with pytest.raises(InvalidLabels, match=r"its rows are one-hot: give labels.argmax\(1\) for classes"):
            profile(network(), loader(x, nn.functional.one_hot(y).double()), metrics=asked)
        with pytest.raises(InvalidLabels, match=r"whole numbers: give labels.long\(\) for classes"):
            profile(network(), loader(x, y.double()), metrics=asked)
        assert "linear_r2" in profile(network(), loader(x, nn.functional.one_hot(y).double()))

    def test_complex_numbers_are_refused(self):
        x, y = samples()
        with pytest.raises(InvalidLabels, match="labels of 'label' are complex"):
            profile(network(), loader(x, y + 0j))

    @pytest.mark.parametrize("label", [-1, -100])
    def test_a_label_below_0_is_no_class(self, label):
        x, y = samples()
        with pytest.raises(InvalidLabels, match=f"label {label} .* is outside the classes, 0 and above"):
            profile(network(), loader(x, torch.where(y == 3, label, y)))


class TestTheNetworksOwnScores:
    def test_a_score_is_of_the_class_that_is_called_as_it(self):
        transformers = pytest.importorskip("transformers")
        names = {0: "owl", 1: "cat", 2: "dog"}
        torch.manual_seed(0)
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=16,
            patch_size=8,
            id2label=names,
            label2id={name: number for number, name in names.items()},
        )
        net = transformers.ViTForImageClassification(config).eval()
        x, y = torch.randn(60, 3, 16, 16), torch.arange(60) % 3
        ds = profile(net, [(x, y)], classes=["cat", "dog", "owl"], metrics=["ncc_mismatch", "self_duality"])
        with torch.no_grad():
            predicted = net(x).logits.argmax(1)
        wrong = (torch.tensor([2, 0, 1])[predicted] != y).double().mean()
        assert ds["network_error"].item() == pytest.approx(float(wrong))
        assert json.loads(ds.attrs["class_scores"]) == {"label": "by name"}
        turned = profile(net, [(x, y)], classes=["owl", "cat", "dog"], metrics=["ncc_mismatch", "self_duality"])
        with torch.no_grad():
            features = net.vit(x).last_hidden_state[:, 0]
        weight = net.classifier.weight.detach().double().numpy()
        at = int(np.flatnonzero(ds["role"].values == "features")[0])
        for found, rows in ((ds, [1, 2, 0]), (turned, [0, 1, 2])):
            expected = oracle.self_duality(features.double().numpy(), y.numpy(), weight[rows])
            assert found["self_duality"].isel(layer=at).item() == pytest.approx(expected, rel=1e-4)

    def test_an_id_beyond_the_head_is_never_a_row(self):
        x, y = samples()
        ids = torch.tensor([0, 1, 2, 9])
        ds = profile(network(3), loader(x, ids[y]))
        assert ds["network_error"].isnull().all()
        assert ds.attrs["classifier"] == "none: the network has 3 scores for 4 classes of label"

    def test_ids_that_may_count_from_0_or_1_are_told_with_the_way_out(self):
        x, y = samples()
        ds = profile(network(5), loader(x, y + 1))
        assert "may count from 0 or from 1; classes=5 says from 0" in ds.attrs["classifier"]
        assert ds["network_error"].isnull().all()
        assert profile(network(5), loader(x, y + 1), classes=5)["network_error"].notnull().all()


class TestDataByName:
    def test_ids_in_a_table_are_classes_as_they_occur(self, tmp_path):
        x, y = samples(90)
        shops = np.array([101, 205, 3007, 30077])[y.numpy()]
        np.savez(tmp_path / "shops.npz", x_train=x.numpy(), y_train=shops)
        ds = profile(network().float(), f"npz:{tmp_path}/shops.npz")
        assert ds["class_name"].values[0].tolist() == ["101", "205", "3007", "30077"]
        assert ds["network_error"].notnull().all()
        np.savez(tmp_path / "index.npz", x_train=x.numpy(), y_train=np.arange(90))
        with pytest.raises(InvalidLabels, match="an index"):
            profile(network().float(), f"npz:{tmp_path}/index.npz")
