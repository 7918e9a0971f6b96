"""Several processes with a share of the data each measure what one process measures of the whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from networks import Perceptron, blobs
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from layerwise.errors import InvalidData
from layerwise.profiling import profile
from layerwise.shares import is_follower, is_shared, neighbours, own_samples, place, together
from layerwise.store import open_store

TESTS = Path(__file__).parent

# Odd sizes: the sampler evens them out with samples that must not be counted twice.
TRAIN, TEST = 61, 31

WORKER = f"""
import sys
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from networks import Perceptron, blobs
from layerwise.profiling import profile

path, how = sys.argv[1:]
torch.distributed.init_process_group("gloo")
torch.manual_seed(0)
network = Perceptron()
data = {{"train": TensorDataset(*blobs({TRAIN})), "test": TensorDataset(*blobs({TEST}, seed=1))}}
if how == "numbers":
    data = {{name: TensorDataset(part[:][0], part[:][0][:, :3] ** 2) for name, part in data.items()}}
loaders = {{
    name: DataLoader(
        part, batch_size=8, sampler=None if how == "whole" else DistributedSampler(part, shuffle=how == "shuffled")
    )
    for name, part in data.items()
}}
if how == "run again":
    import layerwise.plan
    layerwise.plan._WIDEST_KEPT = 0
found = profile(network, loaders, jackknife=10, null=0 if how == "numbers" else 9)
found.to_netcdf(f"{{path}}-{{torch.distributed.get_rank()}}.nc", engine="h5netcdf")
torch.distributed.destroy_process_group()
"""


def torchrun(*words: str, cwd: Path, processes: int = 2) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def splits() -> dict[str, TensorDataset]:
    return {"train": TensorDataset(*blobs(TRAIN)), "test": TensorDataset(*blobs(TEST, seed=1))}


def assert_same_numbers(one: xr.Dataset, other: xr.Dataset) -> None:
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.data_vars:
        if str(name).endswith(("_se", "_bias")) or "_null" in str(name):
            continue
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=1e-9, atol=1e-12, err_msg=str(name))


def assert_errors_of_the_same_size(one: xr.Dataset, other: xr.Dataset) -> None:
    """Processes have the samples in another order: errors are of other groups, chance of other shuffles."""
    if "nc1_null" in one:
        np.testing.assert_allclose(one["ncc_error_null"].mean(), other["ncc_error_null"].mean(), atol=0.06)
    for name in ("nc1", "cdnv", "class_norm", "feature_norm") if "nc1" in one else ("nrc2_cka", "feature_norm"):
        ratio = (one[f"{name}_se"] / other[f"{name}_se"]).values
        assert 0.7 < np.exp(np.log(ratio).mean()) < 1.4, name


@pytest.mark.parametrize("how", ["shuffled", "run again", "whole"])
def test_two_processes_measure_what_one_does(how, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "worker.py").write_text(WORKER)
    torchrun("worker.py", "profile", how, cwd=tmp_path)
    torch.manual_seed(0)
    expected = profile(
        Perceptron(), {name: DataLoader(part, batch_size=8) for name, part in splits().items()}, jackknife=10, null=9
    )
    for number in (0, 1):
        with xr.open_dataset(tmp_path / f"profile-{number}.nc", engine="h5netcdf") as found:
            assert_same_numbers(found.load(), expected)
            assert_errors_of_the_same_size(found, expected)
        assert found.attrs["samples"] == expected.attrs["samples"]
        assert found.attrs["data_fingerprint"] == expected.attrs["data_fingerprint"]


def test_two_processes_measure_of_numbers_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "worker.py").write_text(WORKER)
    torchrun("worker.py", "profile", "numbers", cwd=tmp_path)
    torch.manual_seed(0)
    parts = {name: part[:][0] for name, part in splits().items()}
    loaders = {name: DataLoader(TensorDataset(x, x[:, :3] ** 2), batch_size=8) for name, x in parts.items()}
    expected = profile(Perceptron(), loaders, jackknife=10)
    for number in (0, 1):
        with xr.open_dataset(tmp_path / f"profile-{number}.nc", engine="h5netcdf") as found:
            assert_same_numbers(found.load(), expected)
            assert_errors_of_the_same_size(found, expected)
    assert expected["network_mse"].notnull().all()


def test_the_command_shares_named_data_among_processes_and_one_of_them_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "given.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def model():\n    torch.manual_seed(0)\n    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))\n"
    )
    # One by one, since the forward of a sample may differ in its last bit from batch to batch.
    words = ["-m", "layerwise", "profile", "given:model", "sklearn:iris?test=0.3", "--batch-size", "1"]
    said = torchrun(*words, "--store", "two.lw", "-n", "iris", cwd=tmp_path)
    assert said.count("effective depth") == 1
    torchrun(*words, "--store", "one.lw", "-n", "iris", cwd=tmp_path, processes=1)
    one, two = (open_store(tmp_path / f"{name}.lw")["iris"] for name in ("one", "two"))
    assert_same_numbers(two, one)
    assert two.attrs["samples"] == one.attrs["samples"]


@pytest.mark.parametrize(("samples", "drop_last"), [(10, False), (11, False), (11, True), (1, False)])
def test_every_sample_counts_in_one_process(samples, drop_last):
    data = TensorDataset(torch.arange(samples))
    seen: list[int] = []
    for rank in range(3):
        sampler = DistributedSampler(data, num_replicas=3, rank=rank, shuffle=False, drop_last=drop_last)
        loader = DataLoader(data, batch_size=2, sampler=sampler)
        dealt = [int(value) for (batch,) in loader for value in batch]
        seen += dealt[: own_samples(loader)]
    assert sorted(seen) == list(range(samples - samples % 3 if drop_last else samples))


def test_alone_there_is_one_process_that_has_everything():
    assert place() == (0, 1)
    assert not is_follower()
    assert neighbours() == 1
    assert own_samples([1, 2]) is None
    with together() as device:
        assert device is None


def test_parts_that_hold_samples_twice_are_refused(monkeypatch):
    monkeypatch.setattr("layerwise.shares.place", lambda: (0, 2))
    loader = DataLoader(TensorDataset(torch.arange(4)))
    assert not is_shared(loader)
    loader._is_accelerate_prepared = True
    with pytest.raises(InvalidData, match="accelerate"):
        is_shared(loader)
