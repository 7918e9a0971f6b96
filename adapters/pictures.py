"""The preparation of pictures: from the forms that readers return to the one that transforms take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layerwise.errors import InvalidData
from layerwise.runtime.notes import Notes
from layerwise.runtime.pixels import AddNote, bytes_of_array, colour_picture, grey_picture

__all__ = ["PicturePreparation", "averaged", "check_channels", "picture"]

_CHANNELS = (1, 2, 3, 4)


class PicturePreparation:
    """Converts pictures of any form to the inputs of a network.

    Parameters
    ----------
    transform : callable
        Converts PIL images, all in RGB or all in grey, to the inputs of a batch.
    channels : int
        Channels of the network: 3 for RGB, 1 for grey.
    text : str
        A short description of the transform: networks with equal descriptions prepare pictures alike.

    Attributes
    ----------
    notes : Notes
        Lines on pictures that were changed.
    """

    def __init__(self, transform: Callable[[list[Any]], Any], channels: int = 3, text: str = "") -> None:
        self.transform = transform
        self.channels = channels
        self.text = text
        self.notes = Notes()

    def __call__(self, raw: Sequence[Any]) -> Any:
        """Prepare a batch.

        Raises
        ------
        InvalidData
            If an input is no picture, or has no known scale.
        """
        return self.transform([picture(item, self.channels, self.notes) for item in _on_one_scale(raw)])


def picture(value: Any, channels: int = 3, notes: Notes | None = None) -> Any:
    """Make a PIL image of 8 bits from an image or an array of shape ``(h, w)``, ``(h, w, c)`` or ``(c, h, w)``.

    Parameters
    ----------
    value : PIL.Image.Image or array_like
        Arrays are bytes, 16 bits without a sign, or fractions from 0 to 1.
    channels : int
        3 for an image in RGB, 1 for one in grey.
    notes : Notes, optional
        Gets a note where the conversion loses something.

    Raises
    ------
    InvalidData
        If the value is neither, or has no known scale.
    """
    from PIL import Image

    if channels not in (1, 3):
        raise InvalidData(f"the network takes {channels} channels, and pictures have 1 or 3; give a loader of tensors")
    add_note = (lambda *_: None) if notes is None else notes.add
    if isinstance(value, str) or (isinstance(value, (tuple, list)) and any(isinstance(item, str) for item in value)):
        raise InvalidData(f"a picture must be an image or an array; the data has texts, such as {value!r:.60}")
    image = value if isinstance(value, Image.Image) else _from_array(np.asarray(value), add_note)
    image = colour_picture(image, add_note=add_note)
    return image if channels == 3 else grey_picture(image, add_note)


def averaged(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return the mean or deviation of every channel; for one channel, the average over colours."""
    return (sum(values) / len(values),) if channels == 1 else tuple(values)


def check_channels(pixels: Tensor, channels: int) -> Tensor:
    """Return prepared pictures, shape ``(n, c, h, w)``, if they have the channels that the network takes.

    Raises
    ------
    InvalidData
        If they have another number of channels.
    """
    if isinstance(pixels, torch.Tensor) and pixels.ndim == 4 and pixels.shape[1] != channels:
        raise InvalidData(f"the network takes {channels} channels, and its own preprocessing gives {pixels.shape[1]}")
    return pixels


def _on_one_scale(raw: Sequence[Any]) -> list[Any]:
    """Convert the fractions of a batch to bytes together, since a black picture alone has no scale."""
    places = [place for place, item in enumerate(raw) if isinstance(item, np.ndarray) and item.dtype.kind == "f"]
    pictures = list(raw)
    if places:
        values = bytes_of_array(np.concatenate([pictures[place].reshape(-1) for place in places]))
        ends = np.cumsum([pictures[place].size for place in places])[:-1]
        for place, part in zip(places, np.split(values, ends), strict=True):
            pictures[place] = part.reshape(pictures[place].shape)
    return pictures


def _from_array(array: np.ndarray, add_note: AddNote) -> Any:
    from PIL import Image

    if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = np.moveaxis(array, 0, 2)
    if array.ndim not in (2, 3) or not array.size or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
        raise InvalidData(f"a picture must be an image or an array of pixels; it is {array.dtype} of {array.shape}")
    values = bytes_of_array(array, add_note=add_note)
    return Image.fromarray(np.ascontiguousarray(values[..., 0] if values.shape[2:] == (1,) else values))
