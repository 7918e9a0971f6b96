from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from layerwise.errors import InvalidData
from layerwise.runtime.pixels import bytes_of_array, colour_picture, grey_picture

SHADES = np.linspace(0, 255, 48).astype(np.uint8).reshape(6, 8)
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def reopened(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (SHADES, "PNG"),
        (SHADES.astype(np.uint16) * 257, "PNG"),
        (SHADES.astype(np.uint16) * 257, "TIFF"),
        ((SHADES / 255).astype(np.float32), "TIFF"),
        (SHADES > 127, "PNG"),
    ],
    ids=["bytes", "16 bits", "16 bits, tif", "fractions", "truth values"],
)
def test_grey_of_every_depth_is_at_its_own_scale(values: np.ndarray, kind: str) -> None:
    read = np.asarray(colour_picture(reopened(Image.fromarray(values), kind)))
    expected = SHADES if values.dtype != bool else values * np.uint8(255)
    assert (read == expected[..., None]).all()


@pytest.mark.parametrize("mode", ["P", "CMYK", "RGBA", "YCbCr", "HSV"])
def test_colours_of_every_mode_are_those_of_rgb(mode: str) -> None:
    flat = Image.fromarray(np.full((6, 8, 3), (200, 100, 50), np.uint8))
    read = np.asarray(colour_picture(flat.quantize(4) if mode == "P" else flat.convert(mode)), dtype=int)
    assert abs(read - (200, 100, 50)).max() <= 3


def test_16_bits_that_older_pil_opens_as_32_stay_16_bits() -> None:
    image = Image.fromarray(SHADES.astype(np.int32) * 257)
    image.format = "PNG"
    assert (np.asarray(colour_picture(image))[..., 0] == SHADES).all()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (SHADES.astype(np.float32), "white may be 1 or 255"),
        (SHADES.astype(np.float32) / 255 - 1, "white may be 1 or 255"),
        (SHADES.astype(np.int32), "white may be 255, 65535 or another"),
        (np.array([[0.5, np.nan]], dtype=np.float32), "NaN"),
    ],
)
def test_an_unknown_scale_is_refused(values: np.ndarray, says: str) -> None:
    with pytest.raises(InvalidData, match=says):
        colour_picture(Image.fromarray(values))
    with pytest.raises(InvalidData, match=says):
        bytes_of_array(values)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_black_is_black_at_every_scale(dtype: type) -> None:
    assert not np.asarray(colour_picture(Image.fromarray(np.zeros((3, 4), dtype)))).any()


@pytest.mark.parametrize("dtype", [complex, "U1"])
def test_what_holds_no_pixels_is_refused(dtype: Any) -> None:
    with pytest.raises(InvalidData, match="no pixels"):
        bytes_of_array(np.zeros((2, 2), dtype))


@given(st.lists(st.integers(0, 255), min_size=1, max_size=20))
def test_every_type_of_array_has_the_same_bytes(values: list[int]) -> None:
    expected = np.array(values, dtype=np.uint8)
    assert (bytes_of_array(expected.astype(np.uint16) * 257) == expected).all()
    if expected.any():
        assert (bytes_of_array(expected / 255) == expected).all()


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (Image.new("RGBA", (4, 4), (1, 2, 3, 100)), "transparency"),
        (Image.new("LA", (4, 4), (1, 0)), "transparency"),
        (Image.new("RGBA", (4, 4), (1, 2, 3, 255)), ""),
        (Image.fromarray(np.full((4, 4), 4000, np.uint16)), "twelve bits"),
        (Image.fromarray(np.full((4, 4), 40_000, np.uint16)), ""),
        (
            reopened(
                Image.fromarray(COLOURS), "GIF", save_all=True, append_images=[Image.fromarray(COLOURS[::-1].copy())]
            ),
            "frames",
        ),
    ],
    ids=["transparent", "grey and transparent", "opaque", "12 bits", "16 bits", "moving"],
)
def test_what_is_lost_is_told(image: Image.Image, told: str) -> None:
    kinds: list[str] = []
    assert colour_picture(image, add_note=lambda _line, kind: kinds.append(kind)).mode == "RGB"
    assert kinds == [told] * bool(told)


def test_grey_stays_grey_and_colours_are_told() -> None:
    kinds: list[str] = []

    def tell(_line: str, kind: str) -> None:
        kinds.append(kind)

    grey = grey_picture(Image.fromarray(SHADES).convert("RGB"), tell)
    assert (np.asarray(grey) == SHADES).all()
    assert not kinds
    assert grey_picture(Image.fromarray(COLOURS), tell).mode == "L"
    assert kinds == ["brightness"]
