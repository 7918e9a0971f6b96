from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from layerwise.data.stacking import Stacking
from layerwise.errors import InvalidData

GREY = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)).convert("RGB")


@pytest.mark.parametrize(("first", "dtype"), [(nn.Linear(2, 3), torch.float32), (nn.Embedding(9, 3), torch.int64)])
def test_whole_numbers_are_ids_for_an_embedding(first: nn.Module, dtype: torch.dtype) -> None:
    batch = Stacking(nn.Sequential(first, nn.ReLU()))([np.array([1, 2]), np.array([3, 4])])
    assert (batch.dtype, batch.tolist()) == (dtype, [[1, 2], [3, 4]])


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_have_the_channels_of_the_first_convolution(channels: int) -> None:
    batch = Stacking(nn.Sequential(nn.Conv2d(channels, 2, 3)))([GREY])
    assert batch.shape == (1, channels, 4, 6)
    torch.testing.assert_close(batch[0, 0], torch.arange(24).reshape(4, 6) / 255)


def test_colours_that_are_lost_are_noted() -> None:
    stacking = Stacking(nn.Conv2d(1, 2, 3))
    stacking([Image.new("RGB", (4, 4), (1, 2, 3))])
    assert "read by their brightness" in next(iter(stacking.notes))


@pytest.mark.parametrize("text", ["a film", ("a man", "a person")])
def test_texts_are_refused(text: object) -> None:
    with pytest.raises(InvalidData, match="takes numbers, and the data has texts"):
        Stacking(nn.Linear(2, 2))([text])
