"""Several processes with a share of the data each measure what one process measures of the whole."""

from __future__ import annotations

import re
from contextlib import suppress

import click
import numpy as np
import pytest
import torch
import xarray as xr
from helpers.networks import Perceptron, blobs
from helpers.processes import TESTS, torchrun
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from typer.testing import CliRunner

from layerwise.cli.app import app
from layerwise.errors import InvalidData
from layerwise.profiling import profile
from layerwise.runtime.distributed import (
    dealt_indices,
    is_secondary_process,
    is_shared,
    needs_sample_numbers,
    process_group,
    processes_on_this_machine,
    rank_and_world_size,
    samples_of_this_process,
    why_unknown,
)
from layerwise.store import open_store

# Odd sizes: the sampler evens them out with samples that must not be counted twice.
TRAIN, TEST = 61, 31

WORKER = f"""
import sys
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from helpers.networks import Perceptron, blobs
from layerwise.profiling import profile


def doubled(samples, seed=0):
    inputs, labels = blobs(samples, seed=seed)
    return inputs.double(), labels


path, how = sys.argv[1:]
torch.distributed.init_process_group("gloo")
torch.manual_seed(0)
# A forward in double precision is the same whatever else is in the batch.
network = Perceptron().double()
data = {{"train": TensorDataset(*doubled({TRAIN})), "test": TensorDataset(*doubled({TEST}, seed=1))}}
if how == "numbers":
    data = {{name: TensorDataset(part[:][0], part[:][0][:, :3] ** 2) for name, part in data.items()}}
loaders = {{
    name: DataLoader(
        part, batch_size=8, sampler=None if how == "whole" else DistributedSampler(part, shuffle=how == "shuffled")
    )
    for name, part in data.items()
}}
if how == "run again":
    import layerwise.passes.plan
    layerwise.passes.plan._WIDEST_KEPT = 0
found = profile(network, loaders, jackknife=10, null=9)
found.to_netcdf(f"{{path}}-{{torch.distributed.get_rank()}}.nc", engine="h5netcdf")
torch.distributed.destroy_process_group()
"""


def splits() -> dict[str, TensorDataset]:
    parts = {"train": blobs(TRAIN), "test": blobs(TEST, seed=1)}
    return {name: TensorDataset(inputs.double(), labels) for name, (inputs, labels) in parts.items()}


def assert_same_numbers(one: xr.Dataset, other: xr.Dataset) -> None:
    """Everything is the same, standard errors, biases and what chance gives too."""
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.data_vars:
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=1e-8, atol=1e-11, err_msg=str(name))


@pytest.mark.parametrize(("how", "processes"), [("shuffled", 3), ("run again", 2), ("whole", 2), ("numbers", 4)])
def test_several_processes_measure_the_same_as_one(how, processes, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "worker.py").write_text(WORKER)
    torchrun("worker.py", "profile", how, cwd=tmp_path, processes=processes)
    torch.manual_seed(0)
    parts = splits()
    if how == "numbers":
        parts = {name: TensorDataset(part[:][0], part[:][0][:, :3] ** 2) for name, part in parts.items()}
    loaders = {name: DataLoader(part, batch_size=8) for name, part in parts.items()}
    expected = profile(Perceptron().double(), loaders, jackknife=10, null=9)
    for number in range(processes):
        with xr.open_dataset(tmp_path / f"profile-{number}.nc", engine="h5netcdf") as found:
            assert_same_numbers(found.load(), expected)
        assert found.attrs["samples"] == expected.attrs["samples"]
        assert found.attrs["data_fingerprint"] == expected.attrs["data_fingerprint"]
        in_order = '{"train": "of the data set", "test": "of the data set"}'
        assert found.attrs.get("sample_order") == (None if how == "whole" else in_order)
    assert "sample_order" not in expected.attrs
    assert any(str(name).endswith("_null_low") for name in expected)


def test_the_command_shares_named_data_and_writes_once(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "given.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def model():\n    torch.manual_seed(0)\n    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))\n"
    )
    # One by one, since the forward of a sample may differ in its last bit from batch to batch.
    words = ["profile", "given:model", "sklearn:iris?test=0.3", "--batch-size", "1"]
    said = torchrun("-m", "layerwise", "--", *words, "--store", "two.lw", "--run", "iris", cwd=tmp_path)
    assert said.count("effective depth") == 1
    torchrun("-m", "layerwise", *words, "--store", "one.lw", "--name", "iris", cwd=tmp_path, processes=1)
    one, two = (open_store(tmp_path / f"{name}.lw")["iris"] for name in ("one", "two"))
    assert_same_numbers(two, one)
    assert two.attrs["samples"] == one.attrs["samples"]


def left_to_the_command(words: list[str]) -> list[str] | None:
    """What torchrun hands on of the words behind its own options; None where it refuses them."""
    from torch.distributed.run import get_args_parser

    with suppress(SystemExit):
        found = get_args_parser().parse_args(words)
        assert (found.module, found.training_script) == (True, "layerwise")
        return found.training_script_args
    return None


def options_of_a_profile() -> list[list[str]]:
    from typer.main import get_command

    parameters = get_command(app).get_command(click.Context(get_command(app)), "profile").params
    options = [[word for word in own.opts if word.startswith("-")] for own in parameters]
    return [spellings for spellings in options if spellings]


@pytest.mark.parametrize("spellings", options_of_a_profile(), ids=" ".join)
def test_torchrun_leaves_every_option_of_a_profile_to_the_command(spellings):
    words = ["profile", "model", "data"]
    for word in spellings:
        passed = left_to_the_command(["-m", "layerwise", "--", *words, word, "1"])
        # Some versions of Python hand the dashes on, and the command takes them.
        assert passed in ([*words, word, "1"], ["--", *words, word, "1"])
    assert any(left_to_the_command(["-m", "layerwise", *words, word, "1"]) == [*words, word, "1"] for word in spellings)


def test_the_readme_says_how_torchrun_leaves_the_name_of_a_run_to_the_command():
    readme = (TESTS.parent / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"`torchrun (.*?)`", readme, re.S)
    assert commands
    for command in commands:
        assert left_to_the_command(command.split())[-5:] == ["profile", "MODEL", "DATA", "--run", "RUN"]


def test_the_command_takes_dashes_in_front_of_its_name():
    assert CliRunner().invoke(app, ["--", "metrics", "nc1"]).exit_code == 0


class DealtAnew(DistributedSampler):
    """Takes other samples in every run."""

    def __iter__(self):
        return iter(torch.randperm(len(self.dataset))[: self.num_samples].tolist())


def shared_loader(sampler: type[DistributedSampler] = DistributedSampler, **options: object) -> DataLoader:
    data = TensorDataset(torch.arange(11))
    return DataLoader(data, batch_size=2, sampler=sampler(data, num_replicas=2, rank=1, shuffle=True), **options)


def test_positions_are_known_if_the_sampler_repeats():
    torch.manual_seed(0)
    for drop_last, samples in ((False, 5), (True, 5)):
        loader = shared_loader(drop_last=drop_last)
        indices = dealt_indices(loader)
        assert indices is not None
        assert [int(value) for (batch,) in loader for value in batch][:samples] == indices[:samples]
        assert why_unknown(loader, indices, samples) == ""
    assert "names 5 samples, the loader gives 4" in why_unknown(loader, indices, 4)
    anew = shared_loader(DealtAnew)
    assert "anew" in why_unknown(anew, dealt_indices(anew), 5)
    assert dealt_indices([1, 2]) is None


def test_a_sampler_in_another_order_needs_positions():
    data = TensorDataset(torch.arange(9))
    for shuffle in (False, True):
        sampler = DistributedSampler(data, num_replicas=1, rank=0, shuffle=shuffle)
        assert needs_sample_numbers(DataLoader(data, sampler=sampler)) is shuffle
    assert not needs_sample_numbers(DataLoader(data, shuffle=True))


@pytest.mark.parametrize(("samples", "drop_last"), [(10, False), (11, False), (11, True), (1, False)])
def test_every_sample_counts_in_one_process(samples, drop_last):
    data = TensorDataset(torch.arange(samples))
    seen: list[int] = []
    for rank in range(3):
        sampler = DistributedSampler(data, num_replicas=3, rank=rank, shuffle=False, drop_last=drop_last)
        loader = DataLoader(data, batch_size=2, sampler=sampler)
        dealt = [int(value) for (batch,) in loader for value in batch]
        seen += dealt[: samples_of_this_process(loader)]
    assert sorted(seen) == list(range(samples - samples % 3 if drop_last else samples))


def test_alone_there_is_one_process_that_has_everything():
    assert rank_and_world_size() == (0, 1)
    assert not is_secondary_process()
    assert processes_on_this_machine() == 1
    assert samples_of_this_process([1, 2]) is None
    with process_group() as device:
        assert device is None


def test_parts_that_hold_samples_twice_are_refused(monkeypatch):
    monkeypatch.setattr("layerwise.runtime.distributed.rank_and_world_size", lambda: (0, 2))
    loader = DataLoader(TensorDataset(torch.arange(4)))
    assert not is_shared(loader)
    loader._is_accelerate_prepared = True
    with pytest.raises(InvalidData, match="accelerate"):
        is_shared(loader)
