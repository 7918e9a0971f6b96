"""Wide layers of few samples are measured exactly, through the span of the samples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import oracle
from helpers.networks import Perceptron, blobs, loader
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from layerwise.errors import BudgetExceeded
from layerwise.profiling import profile

TESTS = Path(__file__).parents[1]
METRICS = ["probe_error", "vci", "h_score", "logme", "nc1", "*rank", "participation_ratio"]


def measure(network: nn.Module, **options: object) -> xr.Dataset:
    data = {"train": loader(*blobs(samples=70)), "test": loader(*blobs(samples=40, seed=1))}
    return profile(network, data, metrics=METRICS, layers=["first.0", "second.0"], **options)


def assert_same_numbers(one: xr.Dataset, other: xr.Dataset) -> None:
    for name in one.data_vars:
        np.testing.assert_allclose(other[name].values, one[name].values, rtol=1e-6, atol=1e-9, err_msg=str(name))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Perceptron(width=12).double().eval()


class Doubled(nn.Module):
    """Takes its inputs in double precision, so that one network has the same features in any batch."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.classifier = inner.first, inner.second, inner.classifier

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.second(self.first(inputs.double())))


@pytest.mark.parametrize("again", [False, True], ids=["features wait", "the network runs again"])
@pytest.mark.parametrize(
    "options",
    [{}, {"jackknife": 3}, {"null": 3}, {"convention": "ibrahim"}, {"debiased": True}],
    ids=["plain", "jackknife", "null", "shrunk", "debiased"],
)
def test_the_span_of_the_samples_gives_what_all_features_give(network, options, again, monkeypatch):
    if again:
        monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
    plain = measure(Doubled(network), **options)
    monkeypatch.setattr("layerwise.passes.plan._WIDEST_COVARIANCE", 4)
    spanned = measure(Doubled(network), **options)
    assert spanned.covariance_features.values.tolist() == [12, 12]
    assert spanned.covariance_error.values.tolist() == [0, 0]
    assert_same_numbers(plain, spanned)


@pytest.mark.parametrize("options", [{}, {"jackknife": 3}, {"null": 3}], ids=["plain", "jackknife", "null"])
def test_regression_through_the_span_is_that_of_all_features(network, options, monkeypatch):
    def measured() -> xr.Dataset:
        parts = {"train": blobs(samples=70), "test": blobs(samples=40, seed=1)}
        data = {split: loader(inputs, inputs[:, :2].double() ** 2) for split, (inputs, _) in parts.items()}
        return profile(Doubled(network), data, layers=["first.0", "second.0"], **options)

    plain = measured()
    monkeypatch.setattr("layerwise.passes.plan._WIDEST_COVARIANCE", 4)
    spanned = measured()
    assert spanned.covariance_features.values.tolist() == [12, 12]
    for name in ("linear_r2", "linear_mse", "linear_logme", "nrc1", "nrc1_normalized", "nrc2_cka", "effective_rank"):
        for own in (name, f"{name}_se", f"{name}_null"):
            if own in plain:
                one, other = plain[own].values, spanned[own].values
                assert np.isfinite(one).any(), own
                np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9, err_msg=own)


def test_more_features_than_samples_equal_the_oracle():
    torch.manual_seed(0)
    inputs, labels = blobs(samples=40)
    network = nn.Sequential(nn.Linear(8, 2100), nn.Tanh(), nn.Linear(2100, 3)).eval()
    names = ["effective_rank", "stable_rank", "participation_ratio", "logme"]
    ds = profile(network, loader(inputs, labels), metrics=names, layers=["1"]).isel(epoch=0, split=0, layer=0)
    features = network[:2](inputs).detach().double().numpy()
    for name in names[:3]:
        assert ds[name].item() == pytest.approx(getattr(oracle, name)(features), rel=1e-8)
    expected = oracle.logme(features, labels.numpy(), eps=torch.finfo(torch.float32).eps)
    assert ds["logme"].item() == pytest.approx(expected, abs=1e-6)


def test_samples_that_are_left_out_leave_the_others_as_they_are(network, monkeypatch):
    monkeypatch.setattr("layerwise.passes.plan._WIDEST_COVARIANCE", 4)
    inputs, labels = blobs(samples=70)
    bad = torch.cat([inputs[:30], torch.full((2, 8), torch.nan), inputs[30:]])
    of_bad = torch.cat([labels[:30], labels[:2], labels[30:]])
    options = {"metrics": METRICS, "layers": ["first.0", "second.0"], "nonfinite": "drop", "check": False}
    # The network's own error is of all samples.
    plain = profile(Doubled(network), loader(inputs, labels), **options).drop_vars("network_error")
    assert_same_numbers(plain, profile(Doubled(network), loader(bad, of_bad), **options))


def test_more_samples_than_were_planned_are_refused(monkeypatch):
    monkeypatch.setattr("layerwise.passes.plan._WIDEST_COVARIANCE", 4)
    inputs, labels = blobs(samples=40)
    data = DataLoader(TensorDataset(inputs, labels), batch_sampler=[[*range(10)]] * 8)
    with pytest.raises(BudgetExceeded, match="80 samples.*40"):
        profile(Perceptron().eval(), data, metrics=["effective_rank"], layers=["first.0"])


def test_exact_collapse_explains_all_of_the_variance():
    labels = torch.arange(90) % 3
    means = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = nn.Sequential(nn.Identity(), nn.Flatten())
    found = profile(network, loader(means[labels], labels), layers=["0"], metrics=["h_score", "vci"])
    assert found["h_score"].item() == pytest.approx(2)
    assert found["vci"].item() == pytest.approx(0, abs=1e-12)


def test_a_network_without_weights_rounds_as_its_features_do():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 3
    inputs = torch.randn(400, 3, generator=generator) + labels[:, None]
    turned = torch.linalg.qr(torch.randn(2100, 3, generator=generator)).Q.T
    network = nn.Sequential(nn.Identity(), nn.Flatten())
    wide, narrow = (
        profile(network, loader(given, labels), layers=["0"], metrics=["logme"])["logme"].item()
        for given in (inputs @ turned, inputs)
    )
    assert wide == pytest.approx(narrow, abs=1e-3)


def test_a_profile_goes_on_with_what_wide_layers_wait_for(network, tmp_path, monkeypatch):
    monkeypatch.setattr("layerwise.passes.plan._WIDEST_COVARIANCE", 4)
    whole = measure(Doubled(network))

    class Stopped(BaseException):
        pass

    count = 0

    def stop(*_: object) -> None:
        nonlocal count
        count += 1
        if count > 9:
            raise Stopped

    stopping = Doubled(network)
    handle = stopping.register_forward_hook(stop)
    with pytest.raises(Stopped):
        measure(stopping, resume_dir=tmp_path / "kept", check=False)
    handle.remove()
    assert_same_numbers(whole, measure(Doubled(network), resume_dir=tmp_path / "kept", check=False))


WORKER = f"""
import sys
import torch
sys.path.insert(0, {str(TESTS)!r})
import layerwise.passes.plan
layerwise.passes.plan._WIDEST_COVARIANCE = 4
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from helpers.networks import Perceptron, blobs
from layerwise.profiling import profile
torch.distributed.init_process_group("gloo")
torch.manual_seed(0)
network = Perceptron(width=12).double()
inputs, labels = blobs(samples=70)
data = TensorDataset(inputs.double(), labels)
found = profile(network, DataLoader(data, batch_size=8, sampler=DistributedSampler(data)), metrics={METRICS!r})
if not torch.distributed.get_rank():
    found.to_netcdf(sys.argv[1], engine="h5netcdf")
torch.distributed.destroy_process_group()
"""


def test_two_processes_share_the_span_of_all_samples(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "worker.py", "p.nc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    inputs, labels = blobs(samples=70)
    expected = profile(Perceptron(width=12).double(), loader(inputs.double(), labels), metrics=METRICS)
    with xr.open_dataset(tmp_path / "p.nc", engine="h5netcdf") as found:
        assert_same_numbers(expected, found.load())
