"""A progress bar on a terminal, and nothing but log lines elsewhere."""

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
    """Show how far an iteration is, on a terminal only; of several processes only the first does."""
    total = len(batches) if isinstance(batches, Sized) else None
    logger.debug("%s: %s batches", title, "an unknown number of" if total is None else total)
    hidden = True if os.environ.get("RANK", "0") != "0" else None
    return tqdm(batches, desc=title, total=total, leave=False, disable=hidden, file=sys.stderr, dynamic_ncols=True)


@contextmanager
def others_bars() -> Iterator[None]:
    """A context in which the bars of other libraries are shown on a terminal only, too."""
    if sys.stderr.isatty():
        yield
        return
    shown = tqdm.__init__
    tqdm.__init__ = partialmethod(shown, disable=True)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        tqdm.__init__ = shown  # type: ignore[method-assign]
