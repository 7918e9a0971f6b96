"""Types of data that was read by name: raw inputs, before a model's own preparation, and their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from torch.utils.data import Dataset

from layerwise.data.names import Task
from layerwise.runtime.notes import Notes

__all__ = ["Inputs", "Kind", "RawData", "Rows", "Source"]

#: PIL images in RGB, strings or tuples of two strings, or NumPy arrays.
Kind = Literal["image", "text", "array"]


class Inputs(Protocol):
    """Raw inputs by position, opened or decoded on access."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Rows(Dataset[tuple[Any, Any]]):
    """The samples of one split: pairs of a raw input and its class or regression target.

    Attributes
    ----------
    inputs : Inputs
        Raw inputs by position in the file or folder.
    labels : ndarray
        Class of every sample, shape ``(n,)``, int64; or its target, shape ``(n,)`` or ``(n, q)``, float64.
    positions : ndarray
        Position of every sample's input in `inputs`, shape ``(n,)``.
    """

    inputs: Inputs
    labels: np.ndarray
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        label = self.labels[index]
        return self.inputs[int(self.positions[index])], label if self.is_regression else int(label)

    @property
    def is_regression(self) -> bool:
        """Whether the labels are regression targets."""
        return self.labels.dtype.kind == "f"

    def take(self, indices: np.ndarray) -> Rows:
        """Return the rows at `indices`, in that order."""
        return Rows(self.inputs, self.labels[indices], self.positions[indices])


@dataclass(frozen=True)
class Source:
    """Data that was read from a name.

    Attributes
    ----------
    name : str
        The name that was read.
    splits : dict of str to Rows
        The samples of every split.
    kind : {"image", "text", "array"}
        Whether raw inputs are PIL images, strings or arrays.
    classes : tuple of str
        Name of every class; a label is a position in this tuple. Empty for a regression target.
    fingerprint : str
        A digest of the samples; paths and times of files do not enter.
    notes : Notes
        Lines on data that was changed or skipped; inputs add lines when they are opened.
    """

    name: str
    splits: dict[str, Rows]
    kind: Kind
    classes: tuple[str, ...] = field(repr=False)
    fingerprint: str
    notes: Notes = field(default_factory=Notes, repr=False)


@dataclass(frozen=True)
class RawData:
    """The result of a reader: inputs and raw labels of every split.

    Attributes
    ----------
    kind : {"image", "text", "array"}
        Whether raw inputs are PIL images, strings or arrays.
    splits : mapping of str to (Inputs, ndarray)
        Inputs and raw labels of every split.
    content : str
        A digest of the content.
    classes : tuple of str or None
        The names of integer labels, if the file has them.
    task : {"classification", "regression"}, optional
        The kind of labels, if the reader determines it.
    notes : Notes
        Lines on data that was changed or skipped.
    """

    kind: Kind
    splits: Mapping[str, tuple[Inputs, np.ndarray]]
    content: str
    classes: tuple[str, ...] | None = None
    task: Task | None = None
    notes: Notes = field(default_factory=Notes)
