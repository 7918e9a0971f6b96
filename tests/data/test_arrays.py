from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from layerwise.data import loaders, read
from layerwise.errors import InvalidData, UnknownName

from .files import write_npz


def test_npz_splits_are_its_arrays(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz")
    source = read(f"npz:{path}")
    assert {split: len(rows) for split, rows in source.splits.items()} == {"train": 12, "test": 3}
    assert source.splits["train"][1][0].shape == (4, 4, 3)
    assert list(read(f"npz:{path}?split=test").splits) == ["test"]


def test_one_pair_of_arrays_is_the_split_train(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.eye(3), y=np.array(["b", "a", "b"]))
    source = read(f"npz:{tmp_path}/a.npz")
    assert (list(source.splits), source.classes, source.splits["train"][0][1]) == (["train"], ("a", "b"), 1)


@pytest.mark.parametrize(
    ("arrays", "error", "says"),
    [
        ({"images": np.eye(2)}, InvalidData, "no array x or x_train; it has images"),
        ({"x_train": np.eye(2), "ytrain": np.ones(2)}, UnknownName, "no array 'y_train'; nearest: ytrain"),
        ({"x": np.eye(2), "y": np.ones(3)}, InvalidData, "lengths must be equal"),
        ({"x": np.eye(2), "y": np.array([None, 1])}, InvalidData, "'y' of .* cannot be read"),
    ],
)
def test_wrong_arrays_are_named(
    arrays: dict[str, np.ndarray], error: type[Exception], says: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(error, match=says):
        read(f"npz:{tmp_path}/a.npz")


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.eye(2))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("one.npy", "text.npz"):
        with pytest.raises(InvalidData, match="npz file"):
            read(f"npz:{tmp_path}/{name}")


def test_sklearn_names_its_classes() -> None:
    source = read("sklearn:wine")
    assert source.classes == ("class_0", "class_1", "class_2")
    with pytest.raises(UnknownName, match="nearest: digits"):
        read("sklearn:digit")


@pytest.mark.parametrize(("name", "shape"), [("diabetes", (442,)), ("linnerud", (20, 3))])
def test_sklearn_has_regression_targets(name: str, shape: tuple[int, ...]) -> None:
    source = read(f"sklearn:{name}")
    labels = source.splits["train"].labels
    assert (source.classes, labels.shape, labels.dtype.str) == ((), shape, "<f8")


def test_npz_targets_of_several_dimensions_are_regression(tmp_path: Path) -> None:
    train = {"x": np.eye(4), "y": np.arange(8.0).reshape(4, 2)}
    np.savez(tmp_path / "a.npz", **train, x_test=np.eye(4)[:1], y_test=np.eye(2)[:1])  # type: ignore[arg-type]
    splits = read(f"npz:{tmp_path}/a.npz").splits
    assert splits["train"].labels.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert splits["test"].labels.tolist() == [[1, 0]]


def test_texts_are_texts_and_complex_numbers_stay_complex(tmp_path: Path) -> None:
    values = np.arange(6).reshape(3, 2) + 1j
    np.savez(tmp_path / "a.npz", x=values, y=np.arange(3))
    loader = loaders(read(f"npz:{tmp_path}/a.npz"))["train"]
    assert torch.equal(next(iter(loader))[0], torch.from_numpy(values).to(torch.complex64))
    np.savez(tmp_path / "b.npz", x_Train=np.array(["a", "b"]), y_Train=np.arange(2))
    source = read(f"npz:{tmp_path}/b.npz")
    assert (source.kind, source.splits["train"][1]) == ("text", ("b", 1))
