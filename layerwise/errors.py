"""Errors, and the text of their messages: what was asked, what there is, and the nearest match.

Every error that a caller can cause derives from `LayerwiseError`, and from the built-in that a caller expects, so that
``except ValueError`` works.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = [
    "BatchDependence",
    "BudgetExceeded",
    "EmptyData",
    "InUse",
    "InvalidArgument",
    "InvalidData",
    "InvalidLabels",
    "LayerNeverFired",
    "LayerwiseError",
    "MissingPackage",
    "NoForwardDerivative",
    "NonFiniteFeatures",
    "NotAStore",
    "NotRepeatable",
    "RunFailed",
    "SchemaMismatch",
    "UnknownName",
    "cause_text",
    "escaped",
    "is_escaped",
    "listed",
    "nearest",
    "shown",
]

# Marks that change the direction of text: a name that has one may look like another name.
_DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# Control characters, halves of surrogate pairs, and the ends of lines and paragraphs.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
# A longer word is no path, and hides the rest of its message.
_LONGEST_WORD = 400
# Characters of another library's message that are repeated; the traceback shows the rest.
_LONGEST_CAUSE = 300
# Characters of a value.
_LONGEST = 80
# Characters of a name: the last part of a long path tells it from others.
_LONGEST_NAME = 240


class LayerwiseError(Exception):
    """A mistake that the caller can correct; its text is one line."""

    def __str__(self) -> str:
        text = re.sub(r"\s*\n\s*", " ", super().__str__().strip())
        return escaped(re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: _shortened(word[0]), text))


class UnknownName(LayerwiseError, LookupError):
    """A name that does not exist was asked for.

    Parameters
    ----------
    what : str
        The kind of thing, such as ``"layer"``.
    asked : str
        The name that was asked for.
    available : iterable of str
        The names that exist.
    hint : str, optional
        What the caller can do.
    """

    def __init__(self, what: str, asked: str, available: Iterable[str], hint: str = "") -> None:
        names = list(dict.fromkeys(map(str, available)))
        near = nearest(asked, names) if isinstance(asked, str) else []
        if near:
            alternatives = f"nearest: {', '.join(near)}"
        elif names:
            alternatives = f"there are: {listed(names)}"
        else:
            alternatives = "there are none"
        super().__init__(f"no {what} {shown(asked, _LONGEST_NAME)}; {alternatives}" + (f". {hint}" if hint else ""))


class LayerNeverFired(LayerwiseError, RuntimeError):
    """A chosen layer whose module the forward never called."""


class MissingPackage(LayerwiseError, ModuleNotFoundError):
    """A package is needed that is not installed."""


class InvalidLabels(LayerwiseError, ValueError):
    """Labels that are not integers, or lie outside the classes."""


class InvalidData(LayerwiseError, ValueError):
    """Data, or a batch, that cannot be read as inputs and labels."""


class InvalidArgument(InvalidData, TypeError):
    """An argument or option of a wrong type or size."""


class RunFailed(LayerwiseError, RuntimeError):
    """The caller's network or data failed during a run; ``__cause__`` is the error that they raised."""


class NoForwardDerivative(LayerwiseError, NotImplementedError):
    """An operation of the network that torch cannot differentiate in forward mode."""


class EmptyData(LayerwiseError, ValueError):
    """A split without samples."""


class InUse(LayerwiseError, RuntimeError):
    """A folder that another profile writes to."""


class NotRepeatable(LayerwiseError, TypeError):
    """A loader that runs only once, where a second run is needed."""


class NonFiniteFeatures(LayerwiseError, ArithmeticError):
    """NaN or infinity in the features of a layer."""


class BatchDependence(LayerwiseError, ValueError):
    """Features of a sample that depend on the other samples of its batch, on their order, or on padding."""


class BudgetExceeded(LayerwiseError, MemoryError):
    """No plan fits the memory budget."""


class NotAStore(LayerwiseError, ValueError):
    """A path that is not a layerwise store."""


class SchemaMismatch(LayerwiseError, ValueError):
    """A Dataset that is not a profile."""


def listed(names: Sequence[str], most: int = 8) -> str:
    """Join the first names of a list; say how many there are if some are left out.

    Every message that lists names uses this form.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    'a, b, ... (3 in all)'
    """
    first = ", ".join(_shortened(name) for name in names[:most])
    return first + (f", ... ({len(names)} in all)" if len(names) > most else "")


def nearest(asked: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return the `count` names that are most like the one that was asked for, best first."""
    lowered = {name.lower(): name for name in names}
    if len(asked) > _LONGEST_WORD:
        return []
    return [lowered[match] for match in difflib.get_close_matches(asked.lower(), lowered, n=count, cutoff=0.5)]


def escaped(text: str) -> str:
    """Spell out the characters of a text that control a terminal or change the direction of writing.

    Examples
    --------
    >>> print(escaped("a\x1b[2Jb\u202ec"))
    a\\x1b[2Jb\\u202ec
    """
    return text if is_escaped(text) else "".join(repr(sign)[1:-1] if _is_unsafe(sign) else sign for sign in text)


def is_escaped(text: str) -> bool:
    """Whether a text has no character that `escaped` spells out."""
    return not any(map(_is_unsafe, text))


def shown(value: object, longest: int = _LONGEST) -> str:
    """Return a value as messages show it: plain values as typed, cut if they are long; other objects by their type.

    Examples
    --------
    >>> shown("gap"), shown([0, 2]), shown(object())
    ("'gap'", '[0, 2]', '<object>')
    """
    if isinstance(value, str):
        cut = f"{value[:longest]!r}..." if len(value) > longest else repr(value)
        return cut + (f" ({len(value):,} characters)" if len(value) > longest else "")
    return _REPR.repr(value)


def cause_text(error: BaseException) -> str:
    """Return the type and the first words of another library's error, in one line.

    Examples
    --------
    >>> cause_text(ValueError("no such column\\nin the table"))
    'ValueError: no such column in the table'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A worker of a DataLoader puts its whole traceback into the message; the last line is the error.
    if any(line.startswith("Original Traceback") for line in lines):
        return lines[-1]
    text = " ".join(lines)
    cut = f"{text[:_LONGEST_CAUSE]}..." if len(text) > _LONGEST_CAUSE else text
    return f"{type(error).__name__}: {cut}" if text else type(error).__name__


class _Repr(reprlib.Repr):
    """Shows plain values and containers of them; shows the type of any other object."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = _LONGEST

    def repr1(self, x: object, level: int) -> str:
        plain = x is None or isinstance(x, (bool, float, complex, bytes, str, list, tuple, dict, set, frozenset))
        if isinstance(x, int) and not plain:
            return str(x) if abs(x) < 10**_LONGEST else "a number of more than 80 digits"
        return super().repr1(x, level) if plain else f"<{type(x).__name__}>"


_REPR = _Repr()


def _is_unsafe(sign: str) -> bool:
    return sign in _DIRECTIONS or unicodedata.category(sign) in _UNPRINTABLE


def _shortened(text: str, most: int = _LONGEST) -> str:
    """Return the beginning and the end of a text that is longer than `most`."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]} ({len(text):,} characters)"
