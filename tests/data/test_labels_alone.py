"""Labels that are read alone are those that come with the inputs, and reading them opens no input."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from layerwise.adapters.items import split
from layerwise.data import loaders, read
from layerwise.data.labels_alone import comes_in_order, labels_alone
from layerwise.runtime.distributed import samples_of_this_process

from .files import write_csv, write_images

COUNT = 23
LABELS = (7 * np.arange(COUNT) ** 2 + 5) % 4096


class Pictures(Dataset):
    """Counts the pictures that it opens."""

    def __init__(self, **attributes: object) -> None:
        self.opened = 0
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.opened += 1
        return torch.full((3, 2, 2), float(index)), int(LABELS[index])


def tensors() -> TensorDataset:
    return TensorDataset(torch.randn(COUNT, 3, 2, 2), torch.from_numpy(LABELS))


def table() -> datasets.Dataset:
    columns = {"pixel_values": torch.randn(COUNT, 3).tolist(), "label": LABELS.tolist(), "id": list(range(COUNT))}
    return datasets.Dataset.from_dict(columns).with_format("torch")


DATASETS = {
    "tensors": tensors,
    "pairs": lambda: list(tensors()),
    "targets in a list": lambda: Pictures(targets=LABELS.tolist()),
    "labels in an array": lambda: Pictures(labels=LABELS),
    "labels as torchvision hides them": lambda: Pictures(_labels=LABELS.tolist()),
    "the same labels twice": lambda: Pictures(targets=LABELS.tolist(), labels=LABELS),
    "a subset": lambda: Subset(Pictures(targets=LABELS.tolist()), [5, 1, 1, 20, 8, -2]),
    "a subset of a subset": lambda: Subset(Subset(tensors(), range(3, 18)), [2, 9, 0, 4, 5]),
    "a chain": lambda: ConcatDataset([Pictures(labels=LABELS), Subset(Pictures(targets=LABELS.tolist()), [4, 2])]),
    "a table": table,
    "a shuffled table": lambda: table().shuffle(seed=1),
}
SAMPLERS = {
    "in order": lambda _data: {},
    "whole batches": lambda _data: {"drop_last": True},
    "shuffled": lambda _data: {"shuffle": True, "generator": torch.Generator().manual_seed(3)},
    "some": lambda _data: {"sampler": SubsetRandomSampler([3, 0, 4])},
    "a share": lambda data: {"sampler": DistributedSampler(data, 2, 1, shuffle=True)},
    "an even share": lambda data: {"sampler": DistributedSampler(data, 2, 0, drop_last=True), "drop_last": True},
}


def labels_of(raw: object) -> object:
    return split(raw)[1]


def those_that_come(loader: DataLoader) -> torch.Tensor:
    """The labels of a whole run, up to the samples that count here."""
    return torch.cat([torch.as_tensor(labels_of(raw)) for raw in loader])[: samples_of_this_process(loader)]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("data", DATASETS)
def test_labels_alone_are_those_that_come_with_the_inputs(data, sampler):
    made = DATASETS[data]()
    # Tables have a column that numbers the samples, which no network takes.
    made = made.remove_columns("id") if "table" in data else made
    loader = DataLoader(made, batch_size=2, **SAMPLERS[sampler](made))
    found, expected = labels_alone(loader, labels_of), those_that_come(loader)
    assert found is not None
    own = torch.cat(found)
    if comes_in_order(loader):
        assert own.tolist() == expected.tolist()
    assert sorted(own.tolist()) == sorted(expected.tolist())
    assert comes_in_order(loader) is (sampler not in ("shuffled", "some"))


def test_no_picture_is_opened():
    made = Pictures(targets=LABELS.tolist())
    for sampler in SAMPLERS.values():
        labels_alone(DataLoader(Subset(made, range(10)), batch_size=2, **sampler(made)), labels_of)
    assert made.opened == 0


def test_labels_of_folders_and_files_are_read_alone(tmp_path, monkeypatch):
    write_images(tmp_path / "photos", {"cat": 3, "dog": 2})
    write_csv(tmp_path / "numbers.csv", [(row / 3, row % 5 * 1000) for row in range(12)], header="x,label")
    monkeypatch.setattr("layerwise.data.images.Pictures.__getitem__", lambda *_: pytest.fail("a picture was opened"))
    monkeypatch.setattr("torchvision.datasets.folder.default_loader", lambda *_: pytest.fail("a picture was opened"))
    named = loaders(read(f"imagefolder:{tmp_path / 'photos'}"))["train"]
    assert torch.cat(labels_alone(named, labels_of)).tolist() == [0, 0, 0, 1, 1]
    plain = DataLoader(ImageFolder(str(tmp_path / "photos"), ToTensor()))
    assert torch.cat(labels_alone(plain, labels_of)).tolist() == [0, 0, 0, 1, 1]
    numbers = loaders(read(f"csv:{tmp_path / 'numbers.csv'}"))["train"]
    assert torch.equal(torch.cat(labels_alone(numbers, labels_of)), those_that_come(numbers))


def test_a_list_of_batches_is_read_batch_by_batch():
    batches = [(torch.randn(2, 3), {"a": torch.tensor([1, 2]), "b": torch.tensor([0, 0])})] * 2
    found = labels_alone(batches, labels_of)
    assert [part["a"].tolist() for part in found] == [[1, 2], [1, 2]]


class Stream(IterableDataset):
    targets = LABELS.tolist()

    def __iter__(self):
        return iter(tensors())


class Augmented(Subset):
    """Its labels are others than those of the whole."""


def doubled(samples: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([x for x, _ in samples]), torch.tensor([2 * y for _, y in samples])


@pytest.mark.parametrize(
    "loader",
    [
        lambda: iter([(torch.randn(2, 3), torch.tensor([0, 1]))]),
        lambda: DataLoader(Stream(), batch_size=2),
        lambda: DataLoader(Pictures(), batch_size=2),
        lambda: DataLoader(Pictures(targets=LABELS.tolist(), target_transform=int), batch_size=2),
        lambda: DataLoader(Pictures(targets=LABELS.tolist(), transforms=lambda *item: item), batch_size=2),
        lambda: DataLoader(Pictures(targets=LABELS.tolist(), labels=LABELS + 1), batch_size=2),
        lambda: DataLoader(Pictures(targets=LABELS.tolist()[1:]), batch_size=2),
        lambda: DataLoader(Pictures(targets=list(map(str, LABELS))), batch_size=2),
        lambda: DataLoader(Augmented(Pictures(targets=LABELS.tolist()), [0, 1]), batch_size=2),
        lambda: DataLoader(ConcatDataset([tensors(), Pictures()]), batch_size=2),
        lambda: DataLoader(table().with_transform(lambda rows: rows), batch_size=2),
        lambda: DataLoader(tensors(), batch_size=2, collate_fn=doubled),
        lambda: DataLoader(tensors(), batch_size=2, shuffle=True, drop_last=True),
        lambda: DataLoader(tensors(), sampler=RandomSampler(tensors(), replacement=True), batch_size=2),
        lambda: DataLoader(tensors(), sampler=WeightedRandomSampler([1.0] * COUNT, COUNT), batch_size=2),
        lambda: DataLoader(tensors(), batch_sampler=[[0, 1], [2]]),
    ],
)
def test_what_may_come_with_other_labels_is_not_read_alone(loader):
    assert labels_alone(loader(), labels_of) is None
