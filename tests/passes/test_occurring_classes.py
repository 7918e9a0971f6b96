"""The class ids that occur are read before the plan, which changes no number and refuses in time what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import xarray as xr
from helpers.networks import blobs, loader
from helpers.occurring_classes import WORDS, Pictures, Texts, held, network, texts
from helpers.processes import TESTS, torchrun
from torch.utils.data import DataLoader, Subset, TensorDataset

from layerwise.data import next_tokens
from layerwise.errors import BudgetExceeded
from layerwise.network.resolve import find_network
from layerwise.passes.occurring_classes import Occurring, held_classes
from layerwise.profiling import profile
from layerwise.settings import Settings

# Means of some 1,300 classes.
FEW_BYTES = {"metrics": ["cdnv"], "layers": ["first", "second"], "classes": WORDS, "memory": "1MiB"}


def tensors(count: int, seed: int) -> TensorDataset:
    inputs, labels = blobs(count, classes=9, seed=seed)
    return TensorDataset(inputs, labels * 500)


OF_PICTURES = (network, {"classes": WORDS})
OF_TOKENS = (Texts, {"reduce": "tokens"})
SOURCES = {
    "tensors": (*OF_PICTURES, lambda: {"train": DataLoader(tensors(70, 0), 8), "test": DataLoader(tensors(30, 1), 8)}),
    "shuffled pictures": (*OF_PICTURES, lambda: DataLoader(Pictures(), 32, shuffle=True)),
    "a subset": (*OF_PICTURES, lambda: DataLoader(Subset(Pictures(), range(90, 180)), 16)),
    "batches": (*OF_PICTURES, lambda: loader(*tensors(70, 0).tensors)),
    "undeclared": (network, {}, lambda: DataLoader(tensors(70, 0), 8)),
    "next tokens": (*OF_TOKENS, lambda: {"train": next_tokens(texts()), "test": next_tokens(texts(1))}),
    "shuffled texts": (*OF_TOKENS, lambda: next_tokens(texts(shuffle=True))),
    "texts with their own order": (
        *OF_TOKENS,
        lambda: next_tokens(texts(shuffle=True, generator=torch.Generator().manual_seed(5))),
    ),
    "a few of each token": (Texts, {"reduce": "tokens", "samples_per_class": 4}, lambda: next_tokens(texts())),
}


def found_on_the_way(*_args: object, **_options: object) -> Occurring:
    targets = _args[3]
    return Occurring({target: torch.zeros(0, dtype=torch.int64) for target in targets}, complete=False)


@pytest.mark.parametrize("source", SOURCES)
def test_numbers_are_those_of_ids_that_are_found_on_the_way(source, monkeypatch):
    make, options, data = SOURCES[source]
    options = options | {"metrics": ["nc1", "ncc_error", "ncc_mismatch", "class_count", "cdnv"], "jackknife": 2}
    options["memory"] = "1GiB"

    def measured() -> xr.Dataset:
        model, own = make(), data()
        torch.manual_seed(7)
        return profile(model, own, **options)

    beforehand = measured()
    monkeypatch.setattr("layerwise.passes.occurring_classes.occurring_ids", found_on_the_way)
    xr.testing.assert_identical(beforehand.drop_attrs(deep=False), measured().drop_attrs(deep=False))


@pytest.mark.parametrize("source", SOURCES)
def test_the_plan_has_as_many_classes_as_occur(source):
    make, options, data = SOURCES[source]
    model = make()
    counts = profile(model, data(), metrics=["class_count"], **options)["class_count"].fillna(0)
    occurring = (counts > 0).any(set(counts.dims) - {"class"}).sum().item()
    assert held(model, data(), **options) == {"label": occurring}


@pytest.mark.parametrize("shuffle", [False, True])
def test_what_does_not_fit_is_refused_with_its_number_before_more_than_a_first_batch_is_opened(shuffle):
    pictures = Pictures(3000, 2000)
    data = DataLoader(pictures, 32, shuffle=shuffle)
    with pytest.raises(BudgetExceeded, match="class means of 2000 classes in 2 layers .* memory budget is 1.0 MiB"):
        profile(network(), data, **FEW_BYTES)
    assert pictures.opened == 32


def test_ids_that_only_samples_have_are_found_on_the_way_within_the_budget():
    pictures = Pictures(3000, 2000, known=False)
    with pytest.raises(BudgetExceeded, match="classes by now"):
        profile(network(), DataLoader(pictures, 32), **FEW_BYTES)
    assert pictures.opened > 32
    data = {"train": DataLoader(Pictures(), 32), "test": DataLoader(Pictures(known=False, words=400), 32)}
    assert held(network(), data, classes=WORDS) == {"label": 300}


@pytest.mark.parametrize("shuffle", [False, True])
def test_labels_that_are_not_those_of_the_first_batch_are_not_taken(shuffle):
    pictures = Pictures()
    # What comes with the pictures is coarser than what the dataset names.
    pictures.own = pictures.own // 100 + 4000
    assert held(network(), DataLoader(pictures, 32, shuffle=shuffle), classes=WORDS)["label"] < 10


def test_few_declared_classes_are_not_read(monkeypatch):
    monkeypatch.setattr("layerwise.passes.occurring_classes.occurring_ids", lambda *_: pytest.fail("read for nothing"))
    data = loader(*blobs(60))
    assert held(network(), data, classes=900) == {"label": 900}
    assert held(network(), data, classes=2000, frame="etf") == {"label": 2000}


def test_every_target_has_its_own_number():
    inputs, labels = blobs(60, classes=4)
    batches = [(inputs, {"coarse": labels, "fine": labels * 700 + torch.arange(60) % 3})]
    made, _ = find_network(network(), None)
    first = made.batch(batches[0])
    found = held_classes(made, {"train": batches}, first, ["coarse", "fine"], {"coarse": 4}, Settings(), ())
    assert found == {"coarse": 4, "fine": 12}


WORKER = """
import torch
from torch.utils.data import DataLoader, DistributedSampler
from layerwise.data import next_tokens
from helpers.occurring_classes import Pictures, Texts, held, network, texts, tokens, WORDS

torch.distributed.init_process_group("gloo")
parts = {"train": Pictures(), "test": Pictures(210, 40, shift=1)}
data = {name: DataLoader(own, 8, sampler=DistributedSampler(own)) for name, own in parts.items()}
own = texts(sampler=DistributedSampler(tokens(), shuffle=False))
with open(f"{torch.distributed.get_rank()}.txt", "w") as file:
    file.write(f"{held(network(), data, classes=WORDS)} {held(Texts(), next_tokens(own), reduce='tokens')}")
assert all(own.opened <= 8 for own in parts.values())
torch.distributed.destroy_process_group()
"""


def test_two_processes_know_the_ids_of_both(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "worker.py").write_text(WORKER)
    torchrun("worker.py", cwd=tmp_path)
    data = {"train": DataLoader(Pictures(), 8), "test": DataLoader(Pictures(210, 40, shift=1), 8)}
    expected = f"{held(network(), data, classes=WORDS)} {held(Texts(), next_tokens(texts()), reduce='tokens')}"
    assert "340" in expected
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == [expected] * 2
