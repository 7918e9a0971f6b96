"""Pictures as the readers give them, in the one form that every transform takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerwise.errors import InvalidData

__all__ = ["picture"]


def picture(value: Any) -> Any:
    """A PIL image in colour, from an image or an array of bytes, shape ``(h, w)`` or ``(h, w, channels)``.

    Raises
    ------
    InvalidData
        If it is neither.
    """
    from PIL import Image

    if isinstance(value, Image.Image):
        return value.convert("RGB")
    array = np.asarray(value)
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise InvalidData(
            f"a picture must be an image or an array of bytes; it is {array.dtype} of shape {array.shape}"
        )
    return Image.fromarray(array).convert("RGB")
