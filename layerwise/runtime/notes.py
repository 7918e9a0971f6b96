"""Notes on data that was changed or skipped when it was read: each is logged once and kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from layerwise.runtime.progress import logger

__all__ = ["Notes"]


class Notes:
    """Lines about the reading of data, logged as warnings when they are added, each once.

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
        lines = self._lines.values()
        return iter(dict.fromkeys([*lines, *(line for other in self._others for line in other)]))

    def include(self, other: Notes) -> None:
        """Include the lines of other notes, those that are added later too."""
        self._others.append(other)

    def add(self, line: str, kind: str = "") -> None:
        """Keep and log a line, unless a line of its kind exists; the default kind is the line itself."""
        if (kind or line) in self._lines:
            return
        self._lines[kind or line] = line
        if os.environ.get("RANK", "0") == "0":
            logger.warning("%s", line)
