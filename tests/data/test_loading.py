from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layerwise.data import loaders, read, stack_arrays
from layerwise.errors import InvalidData

from .files import reviews, write_csv, write_images, write_npz


def test_every_run_has_all_samples_in_order(tmp_path: Path) -> None:
    source = read(f"csv:{write_csv(tmp_path / 't.csv', reviews())}")
    loader = loaders(source, list, batch_size=8)["train"]
    for _ in range(2):
        batches = list(loader)
        assert [len(inputs) for inputs, _ in batches] == [8, 8, 4]
        assert [text for inputs, _ in batches for text in inputs] == [f"review {n}" for n in range(20)]
        assert torch.cat([labels for _, labels in batches]).tolist() == [0, 1] * 10
        assert batches[0][1].dtype == torch.int64


@pytest.mark.parametrize("workers", [0, 2])
def test_they_leave_the_random_state_alone(workers: int) -> None:
    pytest.importorskip("sklearn")
    loader = loaders(read("sklearn:iris"), workers=workers)["train"]
    before = torch.get_rng_state()
    assert sum(len(labels) for _, labels in loader) == 150
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("scheme", ["csv", "npz", "imagefolder"])
def test_they_pickle(scheme: str, tmp_path: Path) -> None:
    prepare: Callable[[list[Any]], Any] = stack_arrays
    if scheme == "csv":
        path, prepare = write_csv(tmp_path / "t.csv", reviews()), list
    elif scheme == "npz":
        path = write_npz(tmp_path / "t.npz")
    else:
        path = write_images(tmp_path / "t", {"ant": 2, "bee": 3})
    loader = loaders(read(f"{scheme}:{path}"), prepare)["train"]
    again = pickle.loads(pickle.dumps(loader))
    (inputs, labels), (same, alike) = next(iter(loader)), next(iter(again))
    assert torch.equal(labels, alike)
    assert (np.asarray(inputs) == np.asarray(same)).all()


@pytest.mark.parametrize(
    ("shape", "stacked"),
    [((5, 4), (2, 1, 5, 4)), ((5, 4, 3), (2, 3, 5, 4)), ((3, 5, 6), (2, 3, 5, 6)), ((5, 4, 1), (2, 1, 5, 4))],
)
def test_images_of_bytes_become_channels_first_in_0_1(shape: tuple[int, ...], stacked: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    batch = stack_arrays([image, np.full(shape, 255, np.uint8)])
    assert (tuple(batch.shape), batch.dtype) == (stacked, torch.float32)
    assert (batch[1] == 1).all()
    moved = image if shape[0] == 3 else np.moveaxis(image.reshape(*shape[:2], -1), 2, 0)
    np.testing.assert_allclose(batch[0].numpy(), moved / 255, rtol=1e-6)


def test_images_of_16_bits_are_at_the_scale_of_those_of_bytes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    torch.testing.assert_close(stack_arrays([image.astype(np.uint16) * 257]), stack_arrays([image]))


def test_numbers_pass_as_float32_and_token_ids_as_int64() -> None:
    assert stack_arrays([np.array([0.1, 2.0])]).dtype == torch.float32
    assert stack_arrays([np.array([17, 300], dtype=np.int32)]).tolist() == [[17, 300]]
    assert stack_arrays([np.array([17, 300], dtype=np.int32)]).dtype == torch.int64


def test_arrays_that_differ_in_shape_are_refused() -> None:
    with pytest.raises(InvalidData, match=r"\(2,\), \(3,\)"):
        stack_arrays([np.ones(2), np.ones(3)])


@pytest.mark.parametrize(("name", "shape"), [("diabetes", (7,)), ("linnerud", (7, 3))])
def test_regression_targets_come_in_double_precision(name: str, shape: tuple[int, ...]) -> None:
    pytest.importorskip("sklearn")
    _, targets = next(iter(loaders(read(f"sklearn:{name}"), batch_size=7)["train"]))
    assert (tuple(targets.shape), targets.dtype) == (shape, torch.float64)
