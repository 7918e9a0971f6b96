"""What a random projection changes is measured on some of the samples, and numbers that it cannot give are NaN."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from helpers.networks import loader
from torch import Tensor, nn

from layerwise.passes import Subsample, plan
from layerwise.passes.resume import ResumeState
from layerwise.profiling import profile

# Fits that are NaN warn where they were asked for; that is tested by itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*NaN in:UserWarning")

TESTS = Path(__file__).parents[1]
METRICS = ["probe_error", "vci", "h_score", "logme", "*rank", "participation_ratio"]
FITS = {"probe_error", "vci", "h_score"}


class Unknown:
    """A loader that does not say how many samples it has."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)


def clouds(samples: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Ten classes in 30 directions of unequal variance, and a little noise in all."""
    shared, own = torch.Generator().manual_seed(5), torch.Generator().manual_seed(seed)
    basis = torch.randn(30, width, generator=shared, dtype=torch.float64) / width**0.5
    means = torch.randn(10, 30, generator=shared, dtype=torch.float64)
    labels = torch.arange(samples) % 10
    inner = torch.randn(samples, 30, generator=own, dtype=torch.float64) + means[labels]
    noise = torch.randn(samples, width, generator=own, dtype=torch.float64)
    return inner * torch.arange(1, 31) ** -0.5 @ basis + 0.003 * noise, labels


def network() -> nn.Module:
    return nn.Sequential(nn.Identity(), nn.Flatten())


def measure(samples: int = 120, width: int = 150, size: int = 32, **options: object) -> xr.Dataset:
    parts = {"train": clouds(samples, width, 1), "test": clouds(samples // 2, width, 2)}
    data = {split: loader(*part, size=size) for split, part in parts.items()}
    given = {"metrics": METRICS, "layers": ["0"], "check": False, **options}
    return profile(network(), data, **given)


@pytest.fixture
def narrow(monkeypatch):
    """Layers of more than 16 features are projected to 16, compared on 64 samples, however few samples there are."""
    for name in ("_WIDEST_COVARIANCE", "_WIDEST_OWN", "_NARROWEST_COVARIANCE", "_PROJECTED"):
        monkeypatch.setattr(plan, name, 16)
    monkeypatch.setattr(plan, "_MOST_SPANNED", 0)
    monkeypatch.setattr(plan, "_MOST_COMPARED", 64)


def project(monkeypatch, width: int, compared: int) -> None:
    for name in ("_WIDEST_COVARIANCE", "_WIDEST_OWN", "_PROJECTED"):
        monkeypatch.setattr(plan, name, width)
    monkeypatch.setattr(plan, "_MOST_SPANNED", 0)
    monkeypatch.setattr(plan, "_MOST_COMPARED", compared)


def assert_same_numbers(one: xr.Dataset, other: xr.Dataset) -> None:
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.data_vars:
        np.testing.assert_allclose(other[name].values, one[name].values, rtol=1e-6, atol=1e-9, err_msg=str(name))


def test_the_error_covers_what_the_projection_changes(monkeypatch):
    names = ["stable_rank", "effective_rank", "participation_ratio", "logme"]
    exact = measure(600, 4096, metrics=names)
    project(monkeypatch, 64, compared=200)
    projected = measure(600, 4096, metrics=names)
    assert json.loads(projected.attrs["projection"])["samples"] == {"train": 200, "test": 200}
    for name in names:
        changed = abs(projected[name] - exact[name])
        assert (changed > 1e-4 * abs(exact[name])).all(), name
        assert (changed <= projected[f"{name}_projection_error"]).all(), name


def test_a_wider_projection_has_a_smaller_error(monkeypatch):
    names = ["stable_rank", "logme"]
    errors = []
    # Four times as wide, half as far off: told from chance by a dozen projections.
    for width in (32, 128):
        project(monkeypatch, width, compared=60)
        found = [measure(seed=seed, metrics=names) for seed in range(12)]
        errors.append([np.mean([ds[f"{name}_projection_error"] for ds in found]) for name in names])
    assert (np.diff(errors, axis=0) < 0).all()


@pytest.mark.parametrize("regression", [False, True])
def test_few_samples_of_unknown_number_are_measured_exactly(narrow, regression, monkeypatch):
    def measured(make: type = list) -> xr.Dataset:
        parts = {"train": clouds(60, 150, 1), "test": clouds(40, 150, 2)}
        data = {
            split: make(loader(inputs, inputs[:, :2] ** 2 if regression else labels, size=25))
            for split, (inputs, labels) in parts.items()
        }
        return profile(network(), data, layers=["0"], check=False)

    found = measured(Unknown)
    monkeypatch.setattr(plan, "_MOST_SPANNED", 4096)
    exact = measured()
    assert json.loads(found.attrs["projection"])["exact"] == ["train", "test"]
    for name in exact.data_vars:
        np.testing.assert_allclose(found[name].values, exact[name].values, rtol=1e-9, atol=1e-9, err_msg=str(name))
    errors = [name for name in found if str(name).endswith("_projection_error")]
    assert errors
    assert all(set(np.unique(found[name].fillna(0))) == {0} for name in errors)


@pytest.mark.parametrize("size", [1, 7, 200])
def test_batches_change_nothing(narrow, size):
    assert_same_numbers(measure(), measure(size=size))


def test_order_changes_nothing(narrow):
    inputs, labels = clouds(120, 150, 1)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    one, other = (
        profile(network(), loader(*data), layers=["0"], metrics=METRICS, check=False)
        for data in ((inputs, labels), (inputs[order], labels[order]))
    )
    assert_same_numbers(one, other)


def test_an_interrupted_profile_keeps_what_it_compares(narrow, tmp_path):
    class Stopped(BaseException):
        """In place of a kill."""

    def stop(*_: object) -> None:
        nonlocal count
        count += 1
        if count > 5:
            raise Stopped

    count = 0
    data = {split: loader(*clouds(100, 150, seed)) for seed, split in enumerate(("train", "test"))}
    options = {"layers": ["0"], "metrics": METRICS, "check": False}
    whole = profile(network(), data, **options)
    stopping = network()
    handle = stopping.register_forward_hook(stop)
    with pytest.raises(Stopped):
        profile(stopping, data, resume_dir=ResumeState(tmp_path / "kept", every=0), **options)
    handle.remove()
    assert list((tmp_path / "kept").rglob("*.pt"))
    assert_same_numbers(whole, profile(stopping, data, resume_dir=tmp_path / "kept", **options))


def test_numbers_that_the_projection_cannot_give_are_nan_and_named(narrow):
    ds = measure()
    missing = json.loads(ds.attrs["projection"])["missing"]
    named = {name for reasons in missing.values() for own in reasons.values() for name in own}
    assert named >= FITS
    for split, reasons in missing.items():
        for reason, own in reasons.items():
            assert reason
            for name in own:
                assert ds[name].sel(split=split).isnull().all()
                assert ds[f"{name}_projection_error"].sel(split=split).isnull().all()
    for name in named:
        kept = ds[name].notnull()
        assert ds[f"{name}_projection_error"].where(kept).notnull().equals(kept)


def test_what_was_asked_for_and_is_nan_warns(narrow):
    with pytest.warns(UserWarning, match="vci: NaN in layers that are read through a random projection, such as vci"):
        measure(metrics=["vci"])


def test_ranks_beyond_half_of_the_projection_are_nan(narrow):
    inputs = torch.randn(200, 100, generator=torch.Generator().manual_seed(0))
    names = ["effective_rank", "participation_ratio"]
    ds = profile(network(), loader(inputs, torch.arange(200) % 2), layers=["0"], metrics=names, check=False)
    assert all(ds[name].isnull().all() for name in names)
    (reasons,) = json.loads(ds.attrs["projection"])["missing"].values()
    assert any("more directions" in reason for reason in reasons)


def test_without_room_for_samples_nothing_comes_from_the_projection(narrow, monkeypatch):
    monkeypatch.setattr(plan, "_MOST_COMPARED", 0)
    ds = measure(metrics=[*METRICS, "nc1"])
    assert all(ds[name].isnull().all() for name in ("logme", "effective_rank", "probe_error"))
    assert ds["nc1"].notnull().all()
    assert "memory budget" in ds.attrs["projection"]


def test_errors_and_chance_go_with_the_number(narrow):
    ds = measure(jackknife=3, null=3)
    assert ds["logme"].notnull().all()
    for name in ("logme", "vci", "probe_error"):
        for suffix in ("_se", "_null"):
            assert ds[f"{name}{suffix}"].notnull().equals(ds[name].notnull().rename(f"{name}{suffix}"))


def test_tokens_are_compared_too(narrow):
    class Words(nn.Module):
        """Each word is its own features."""

        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Identity()

        def forward(self, inputs: Tensor) -> Tensor:
            return self.block(inputs)

    inputs, labels = clouds(240, 100, 1)
    data = loader(inputs.view(40, 6, 100), labels.view(40, 6), size=10)
    options = {"layers": ["block"], "metrics": ["participation_ratio", "logme"], "check": False}
    ds = profile(Words(), data, reduce="tokens", **options)
    assert list(json.loads(ds.attrs["projection"])["samples"].values()) == [64]
    assert (ds["participation_ratio_projection_error"] > 0).all()
    assert (ds["logme_projection_error"] > 0).all()


def test_narrow_layers_have_no_projection():
    ds = measure(width=20)
    assert not [name for name in ds if "projection" in str(name)]
    assert "projection" not in ds.attrs


def test_the_same_samples_are_kept_however_they_come():
    values = torch.arange(100.0)[:, None]
    hashes = torch.randint(2**62, (100,), generator=torch.Generator().manual_seed(0))

    def kept(order: Tensor, size: int) -> list[float]:
        part = Subsample(10)
        for some in order.split(size):
            part.begin({"label": some}, len(some), hashes[some].tolist())
            part.receive("layer", values[some])
        part.merge(shared=False)
        assert part.features("layer")[:, 0].tolist() == part.labels()["label"].tolist()
        return part.features("layer")[:, 0].tolist()

    expected = hashes.argsort()[:10].double().tolist()
    for order in (torch.arange(100), torch.arange(100).flip(0)):
        for size in (1, 9, 100):
            assert kept(order, size) == expected


WORKER = f"""
import sys
import torch
sys.path[:0] = [{str(TESTS)!r}, {str(Path(__file__).parent)!r}]
from layerwise.passes import plan
for name in ("_WIDEST_COVARIANCE", "_WIDEST_OWN", "_NARROWEST_COVARIANCE", "_PROJECTED"):
    setattr(plan, name, 16)
plan._MOST_SPANNED, plan._MOST_COMPARED = 0, 64
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from test_projection import METRICS, clouds, network
from layerwise.profiling import profile
torch.distributed.init_process_group("gloo")
data = TensorDataset(*clouds(120, 150, 1))
given = DataLoader(data, batch_size=8, sampler=DistributedSampler(data))
found = profile(network(), given, layers=["0"], metrics=METRICS, check=False)
if not torch.distributed.get_rank():
    found.to_netcdf(sys.argv[1], engine="h5netcdf")
torch.distributed.destroy_process_group()
"""


def test_processes_change_nothing(narrow, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "worker.py", "p.nc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = loader(*clouds(120, 150, 1))
    expected = profile(network(), data, layers=["0"], metrics=METRICS, check=False)
    with xr.open_dataset(tmp_path / "p.nc", engine="h5netcdf") as found:
        assert_same_numbers(expected, found.load())
