"""The mask of a batch at the positions of a layer."""

from __future__ import annotations

import pytest
import torch

from layerwise.errors import InvalidData
from layerwise.features.masks import check_some_real, mask_of_layer
from layerwise.network.layer import Axes
from layerwise.runtime.tensors import resampled

MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])


UNMEASURED = Axes()


def at(shape: tuple[int, ...], axes: Axes = UNMEASURED, prefix: int = 0, **options: bool) -> torch.Tensor | None:
    return mask_of_layer(MASK, axes, shape, prefix, resampled, **{"tokens": True, **options})


def test_a_layer_that_does_not_follow_the_mask_has_no_mask() -> None:
    assert at((2, 4, 8), Axes(masked=(), measured=True)) is None


def test_a_layer_may_follow_the_mask_along_any_axis() -> None:
    assert torch.equal(at((2, 8, 4), Axes(masked=(2,), measured=True)), MASK)


def test_tokens_of_a_prefix_are_real_and_virtual_ones_are_not() -> None:
    axes = Axes(masked=(1,), ahead=2, measured=True)
    assert at((2, 6, 8), axes, prefix=2).tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]]
    assert at((2, 6, 8), axes, prefix=2, virtual=True).tolist() == [[0, 0, 1, 1, 1, 0], [0, 0, 1, 0, 0, 0]]


def test_a_strided_layer_has_the_mask_at_the_centre_of_each_position() -> None:
    assert at((2, 2, 8), Axes(masked=(1,), scaled=True, measured=True)).tolist() == [[1, 0], [0, 0]]


def test_without_a_measurement_only_tokens_have_the_mask() -> None:
    assert torch.equal(at((2, 4, 8)), MASK)
    assert at((2, 8, 4), tokens=False) is None


def test_a_single_token_is_real_whatever_the_mask() -> None:
    assert at((2, 1, 8)) is None


@pytest.mark.parametrize("axes", [UNMEASURED, Axes(masked=(1,), ahead=2, measured=True)])
def test_unknown_positions_are_refused_with_both_lengths(axes: Axes) -> None:
    with pytest.raises(InvalidData, match=r"mask has 4 tokens, the layer has 6.*in front or behind"):
        at((2, 6, 8), axes)


def test_samples_of_only_padding_are_refused_and_counted() -> None:
    check_some_real(MASK)
    check_some_real(None)
    with pytest.raises(InvalidData, match="1 of 2 samples of a batch have no token"):
        check_some_real(MASK * torch.tensor([[1], [0]]))
