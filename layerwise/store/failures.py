"""The two failures of a store, not readable and not writable, and the errors of the storage behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import icechunk

from layerwise.errors import LayerwiseError

__all__ = ["NotReadable", "NotWritable", "is_failure", "reading", "reason"]

# The line-drawing characters in front of the words of a message of Icechunk.
_BRANCHES = re.compile(r"^[^\w\[('\"/]*(?:x )?")

# Lines of a message that locate the error inside Icechunk.
_CONTEXT = re.compile(r"context:|\d+: |with |at |\w+=")


class NotReadable(LayerwiseError, OSError):
    """A store, or a run of it, that is damaged or out of reach."""


class NotWritable(LayerwiseError, OSError):
    """A place that cannot be written to: read-only, full, or out of reach."""


def is_failure(error: BaseException, *kinds: type[Exception]) -> bool:
    """Whether an error comes from the storage: one of `kinds`, by default any `Exception`, but no `LayerwiseError`.

    Damaged files can make Icechunk panic, which is no `Exception`.
    """
    return not isinstance(error, LayerwiseError) and (
        isinstance(error, kinds or Exception) or type(error).__name__ == "PanicException"
    )


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raise `NotReadable` about `what` in place of any error of the storage."""
    try:
        yield
    except BaseException as error:
        if not is_failure(error):
            raise
        raise NotReadable(f"{what} cannot be read: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return the cause of an error in one line; Icechunk draws a tree of lines, with the innermost cause last."""
    lines = [_BRANCHES.sub("", line).strip() for line in str(error).splitlines()]
    if isinstance(error, icechunk.IcechunkError):
        lines = [line for line in lines if not _CONTEXT.match(line)][::-1]
    return next(filter(None, lines), type(error).__name__)
