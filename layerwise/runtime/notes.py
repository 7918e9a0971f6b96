"""Notes: what was read otherwise than it stands, or not at all; each is told once and kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from layerwise.runtime.progress import logger

__all__ = ["Notes"]


class Notes:
    """Lines about the reading of data, logged as warnings when they are added.

    Examples
    --------
    >>> notes = Notes(["2 files are no pictures"])
    >>> notes.add("2 files are no pictures")
    >>> list(notes)
    ['2 files are no pictures']
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._lines: dict[str, str] = {}
        self._others: list[Notes] = []
        for line in lines:
            self.add(line)

    def __iter__(self) -> Iterator[str]:
        own = list(self._lines.values())
        return iter(dict.fromkeys([*own, *(line for other in self._others for line in other)]))

    def include(self, other: Notes) -> None:
        """Have the lines of other notes among these, those that are still to come too."""
        self._others.append(other)

    def add(self, line: str, kind: str = "") -> None:
        """Keep a line and log it, unless there is one of its kind; by default a line is a kind of its own."""
        if (kind or line) in self._lines:
            return
        self._lines[kind or line] = line
        if os.environ.get("RANK", "0") == "0":
            logger.warning("%s", line)
