"""Every reduction equals its plain numpy form, and padding never counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layerwise.errors import InvalidData, UnknownName
from layerwise.features.reduction import Tokens, check_reduction, reduce, reduction_of
from layerwise.network.layer import Layer

MAP, MAP_LAST, SERIES, TOKENS = (5, 3, 4, 6), (5, 4, 6, 3), (5, 3, 7), (5, 9, 3)
RIGHT = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]])


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def cells(array: np.ndarray, size: int) -> np.ndarray:
    """Means over a grid of maps (n, c, h, w), cell by cell, as adaptive pooling cuts them."""
    height, width = array.shape[2:]
    rows = [slice(i * height // size, -(-(i + 1) * height // size)) for i in range(size)]
    columns = [slice(i * width // size, -(-(i + 1) * width // size)) for i in range(size)]
    means = [[array[:, :, row, column].mean((2, 3)) for column in columns] for row in rows]
    return np.stack([np.stack(row, -1) for row in means], -2).reshape(len(array), -1)


CASES = [
    ("gap", MAP, 1, lambda a: a.mean((2, 3))),
    ("gap", MAP_LAST, -1, lambda a: a.mean((1, 2))),
    ("gap", SERIES, 1, lambda a: a.mean(2)),
    ("gap", TOKENS, -1, lambda a: a.mean(1)),
    ("mean", TOKENS, -1, lambda a: a.mean(1)),
    ("mean", TOKENS, 2, lambda a: a.mean(1)),
    ("mean", MAP, 1, lambda a: a.mean((2, 3))),
    ("cls", TOKENS, -1, lambda a: a[:, 0]),
    ("last", TOKENS, -1, lambda a: a[:, -1]),
    ("grid:2", MAP, 1, lambda a: cells(a, 2)),
    ("grid:4", MAP, 1, lambda a: cells(a, 4)),
    ("grid:2", MAP_LAST, -1, lambda a: cells(a.transpose(0, 3, 1, 2), 2)),
    ("grid:3", MAP_LAST, 3, lambda a: cells(a.transpose(0, 3, 1, 2), 3)),
    ("grid:2", TOKENS, -1, lambda a: cells(a.transpose(0, 2, 1).reshape(5, 3, 3, 3), 2)),
    ("flatten", MAP, 1, lambda a: a.reshape(5, -1)),
    ("flatten", TOKENS, -1, lambda a: a.reshape(5, -1)),
    *((reduction, (5, 3), -1, lambda a: a) for reduction in ("gap", "mean", "cls", "last", "grid:2", "flatten")),
    ("gap", (5,), -1, lambda a: a[:, None]),
]


@pytest.mark.parametrize(("reduction", "shape", "channels", "plain"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_reduction_equals_its_plain_form(reduction, shape, channels, plain, dtype):
    activation = drawn(*shape, dtype=dtype)
    expected = plain(activation.double().numpy())
    reduced = reduce(activation, reduction, channels, Tokens())
    np.testing.assert_allclose(reduced.double().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["gap", "mean", "grid:1"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_means_of_half_precision_are_accumulated_in_single(reduction, dtype):
    # 70,000 * 3 is beyond what float16 can hold, and bfloat16 stops counting at 256.
    activation = torch.full((2, 3, 280, 250), 3.0, dtype=dtype)
    reduced = reduce(activation, reduction, 1, Tokens())
    assert reduced.dtype == torch.float32
    assert torch.equal(reduced, torch.full((2, 3), 3.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masked_means_of_half_precision_are_accumulated_in_single(dtype):
    activation, mask = torch.full((1, 70_000, 1), 3.0, dtype=dtype), torch.ones(1, 70_000, dtype=torch.int64)
    assert reduce(activation, "mean", -1, Tokens(mask)).item() == 3.0


PADDED = [RIGHT, RIGHT.flip(1), RIGHT.bool(), RIGHT.flip(1).bool(), RIGHT.float()]


@pytest.mark.parametrize("mask", PADDED, ids=["right", "left", "right bool", "left bool", "float"])
@pytest.mark.parametrize(
    ("reduction", "plain"),
    [("mean", lambda real: real.mean(0)), ("cls", lambda real: real[0]), ("last", lambda real: real[-1])],
)
def test_padding_never_counts_not_even_as_nan(reduction, plain, mask):
    activation = drawn(3, 4, 2)
    activation[mask == 0] = float("nan")
    expected = [plain(row[kept != 0].numpy()) for row, kept in zip(activation, mask, strict=True)]
    np.testing.assert_allclose(reduce(activation, reduction, -1, Tokens(mask)).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("prefix", [1, 5])
def test_prefix_tokens_are_left_out_of_the_mean_and_kept_by_cls_and_last(prefix):
    activation = drawn(3, prefix + 4, 2)
    tokens = Tokens(torch.cat([RIGHT.new_ones(3, prefix), RIGHT], 1), prefix)
    lengths = RIGHT.sum(1).tolist()
    expected = [row[prefix : prefix + n].mean(0).numpy() for row, n in zip(activation, lengths, strict=True)]
    np.testing.assert_allclose(reduce(activation, "mean", -1, tokens).numpy(), expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(reduce(activation, "cls", -1, tokens), activation[:, 0])
    last = torch.stack([row[prefix + n - 1] for row, n in zip(activation, lengths, strict=True)])
    assert torch.equal(reduce(activation, "last", -1, tokens), last)


def test_prefix_tokens_are_left_out_without_a_mask_too():
    activation = drawn(2, 2 + 4, 3)
    assert torch.allclose(reduce(activation, "mean", -1, Tokens(prefix=2)), activation[:, 2:].mean(1))
    grid = reduce(activation, "grid:2", -1, Tokens(prefix=2))
    assert torch.equal(grid, activation[:, 2:].transpose(1, 2).flatten(1))


def test_a_sample_that_is_all_padding_has_mean_zero():
    reduced = reduce(drawn(1, 4, 2), "mean", -1, Tokens(torch.zeros(1, 4, dtype=torch.int64)))
    assert torch.equal(reduced, torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("reduction", "shape", "channels", "message"),
    [
        ("cls", MAP, 1, r"'cls' needs tokens; the activation has shape \(5, 3, 4, 6\)"),
        ("last", SERIES, 1, "'last' needs tokens"),
        ("grid:2", SERIES, 1, r"'grid:2' needs a map; the activation has shape \(5, 3, 7\)"),
        ("grid:2", (5, 8, 3), -1, "'grid:2' needs a square of tokens; the layer has 8"),
        ("grid:2", (5, 2, 3, 4, 6), 1, "'grid:2' needs a map"),
    ],
)
def test_an_activation_without_tokens_or_grid_is_refused(reduction, shape, channels, message):
    with pytest.raises(InvalidData, match=message):
        reduce(drawn(*shape), reduction, channels, Tokens())


def test_gap_counts_prefix_tokens_and_no_padding():
    activation = drawn(3, 4, 2)
    expected = [row[kept != 0].mean(0).numpy() for row, kept in zip(activation, RIGHT, strict=True)]
    reduced = reduce(activation, "gap", -1, Tokens(RIGHT, prefix=1)).numpy()
    np.testing.assert_allclose(reduced, expected, rtol=1e-6)


def test_a_mask_applies_to_the_axes_that_follow_it():
    series, maps = drawn(3, 5, 4), drawn(3, 4, 6, 5)
    of_series = reduce(series, "gap", 1, Tokens(RIGHT, axes=(2,)))
    of_maps = reduce(maps, "gap", -1, Tokens(RIGHT, axes=(1,)))
    for row, kept in enumerate(RIGHT != 0):
        torch.testing.assert_close(of_series[row], series[row][:, kept].mean(1))
        torch.testing.assert_close(of_maps[row], maps[row][kept].mean((0, 1)))


@pytest.mark.parametrize("name", ["auto", "gap", "grid:7", "cls", "mean", "last", "flatten", "sketch:128"])
def test_known_reductions_pass(name):
    check_reduction(name)


@pytest.mark.parametrize(
    "name", ["", "avg", "grid", "grid:", "grid:0", "grid:x", "grid:-1", "gap:2", "sketch", "grid:k"]
)
def test_unknown_reductions_are_refused(name):
    with pytest.raises(UnknownName, match="no reduction"):
        check_reduction(name)


@pytest.mark.parametrize(
    ("shape", "channels", "name", "expected"),
    [
        ((3, 4, 6), 1, "auto", "gap"),
        ((4, 6, 3), -1, "auto", "gap"),
        ((3, 7), 1, "auto", "gap"),
        ((9, 3), -1, "auto", "cls"),
        ((3,), -1, "auto", "flatten"),
        ((3,), -1, "gap", "flatten"),
        ((), -1, "auto", "flatten"),
        ((9, 3), -1, "grid:2", "grid:2"),
    ],
)
def test_auto_pools_tokens_like_the_network_and_averages_maps(shape, channels, name, expected):
    assert reduction_of(Layer("block", shape=shape, channels=channels), name, "cls") == expected
