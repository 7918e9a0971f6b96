"""Pictures of any mode and depth as bytes at their own scale: black is 0, white is 255."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from layerwise.errors import InvalidData
from layerwise.runtime.reading_errors import refusing

__all__ = ["AddNote", "bytes_of_array", "colour_picture", "decoding", "grey_picture"]

#: Takes a line about what a conversion changes, and the kind of the line (`Notes.add`).
AddNote = Callable[[str, str], None]

_SIXTEEN_BITS = 65535
# The largest value of 12 bits: a 16-bit file without larger values may have another scale.
_TWELVE_BITS = 4095


def _no_note(_line: str, _kind: str) -> None:
    """Drop a note."""


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Raise errors of opening and decoding a picture as `InvalidData`, and run no PostScript.

    Raises
    ------
    InvalidData
        For a broken picture, and for one of more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.
    """
    from PIL import EpsImagePlugin

    # PostScript is a program; PIL would run it in Ghostscript.
    binary = EpsImagePlugin.gs_binary
    EpsImagePlugin.gs_binary = False
    try:
        with refusing(f"{name} cannot be read as an image"):
            yield
    finally:
        EpsImagePlugin.gs_binary = binary


def colour_picture(image: Any, name: str = "a picture", add_note: AddNote = _no_note) -> Any:
    """Convert an image to RGB, 8 bits a channel, at the scale that its mode states.

    Parameters
    ----------
    image : PIL.Image.Image
        An image of any mode: palette, CMYK, grey, 16 bits, fractions.
    name : str
        Name of the image in messages.
    add_note : callable
        Called if the conversion drops transparency, or the later frames of an animation.

    Raises
    ------
    InvalidData
        If neither the mode nor the values state a scale.
    """
    from PIL import Image

    if getattr(image, "n_frames", 1) > 1:
        add_note(f"files that hold several pictures, such as {name}, are read as the first", "frames")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image)
        if not values.any():
            # Black at every scale.
            return Image.new("RGB", image.size)
        if image.mode == "I" and _states_sixteen_bits(image):
            values = values.astype(np.uint16)
        return Image.fromarray(bytes_of_array(values, name, add_note)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if rgba.getextrema()[3][0] < 255:
            add_note(
                f"transparency is left out, as in {name}: where pictures are transparent, the colour beneath counts",
                "transparency",
            )
        return rgba.convert("RGB")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise InvalidData(
            f"{name} has the mode {image.mode}, which cannot be read as RGB ({error}); convert it before"
        ) from error


def grey_picture(image: Any, add_note: AddNote = _no_note) -> Any:
    """Convert an image in RGB to one channel; add a note if colours are lost."""
    red, green, blue = image.split()
    if red.tobytes() != green.tobytes() or red.tobytes() != blue.tobytes():
        add_note("the network takes one channel, and pictures in colour are read by their brightness", "brightness")
    return image.convert("L")


def bytes_of_array(values: np.ndarray, name: str = "a picture", add_note: AddNote = _no_note) -> np.ndarray:
    """Convert the values of a picture to bytes, at the scale of their type.

    Parameters
    ----------
    values : ndarray
        Bytes, truth values, 16 bits (white is 65535), or fractions from 0 to 1, in any shape.
    name : str
        Name of the picture in messages.
    add_note : callable
        Called if 16-bit values fill no more than 12 bits.

    Returns
    -------
    ndarray
        uint8, of the same shape.

    Raises
    ------
    InvalidData
        If type and values do not determine the value of white.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf" or not values.size:
        raise InvalidData(f"{name} holds {values.dtype} of shape {values.shape}, no pixels")
    low, high = values.min(), values.max()
    if values.dtype == np.uint16:
        if 0 < high <= _TWELVE_BITS:
            add_note(
                f"16-bit pictures such as {name} have values up to {high} of {_SIXTEEN_BITS} and are read at the scale "
                "of their type, nearly black; rescale the files if their white is less",
                "twelve bits",
            )
        return np.asarray(np.rint(values / (_SIXTEEN_BITS / 255)).astype(np.uint8))
    if not np.isfinite(low + high):
        raise InvalidData(f"{name} has NaN or infinity among its pixels")
    if values.dtype.kind == "f" and low >= 0 and 0 < high <= 1:
        return np.asarray(np.rint(values * 255).astype(np.uint8))
    white = "1 or 255" if values.dtype.kind == "f" else "255, 65535 or another"
    raise InvalidData(
        f"a picture must be of a known scale: {name} holds {values.dtype} from {low:g} to {high:g}, and white may be "
        f"{white}. Give bytes, 16 bits without a sign, or fractions from 0 to 1"
    )


def _states_sixteen_bits(image: Any) -> bool:
    """Whether an image of 32-bit integers is from a file of 16 bits, which older releases of PIL open so."""
    tags = getattr(image, "tag_v2", {})
    return image.format == "PNG" or tuple(np.atleast_1d(tags.get(258, 0))) == (16,)
