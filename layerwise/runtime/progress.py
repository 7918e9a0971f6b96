"""The log, and progress bars, which are shown on a terminal only."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import partialmethod
from typing import Any

from tqdm import tqdm

__all__ = ["bar", "logger", "others_bars"]

#: The log of the library.
logger = logging.getLogger("layerwise")


def bar(batches: Iterable[Any], title: str) -> Iterable[Any]:
    """Iterate with a progress bar, on a terminal and in the first process only."""
    total = len(batches) if isinstance(batches, Sized) else None
    logger.debug("%s: %s batches", title, "an unknown number of" if total is None else total)
    hidden = True if os.environ.get("RANK", "0") != "0" else None
    return tqdm(batches, desc=title, total=total, leave=False, disable=hidden, file=sys.stderr, dynamic_ncols=True)


@contextmanager
def others_bars() -> Iterator[None]:
    """Hide the bars of other libraries within the context, unless there is a terminal."""
    if sys.stderr.isatty():
        yield
        return
    original = tqdm.__init__
    tqdm.__init__ = partialmethod(original, disable=True)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        tqdm.__init__ = original  # type: ignore[method-assign]
