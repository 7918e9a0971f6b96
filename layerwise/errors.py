"""Errors: what was asked, what there is, and the nearest match.

Every error that a caller can cause derives from `LayerwiseError`, and from the built-in that a caller would
have expected, so that ``except ValueError`` keeps working.
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

# The marks that change the direction of text, behind which a name may look like another.
_DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# Control characters, halves of surrogate pairs, and the ends of lines and paragraphs.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
# A word of this length is no path, and drowns the message that it stands in.
_LONGEST_WORD = 400
# Of what another's error says, this much is repeated; it is the cause, and says the rest itself.
_LONGEST_CAUSE = 300
# A value is shown with at most so many characters.
_LONGEST = 80
# A name may be a path, whose last part says what it is of.
_LONGEST_NAME = 240


class LayerwiseError(Exception):
    """A mistake that the caller can mend; its text is one line."""

    def __str__(self) -> str:
        text = re.sub(r"\s*\n\s*", " ", super().__str__().strip())
        return escaped(re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: _shortened(word[0]), text))


class UnknownName(LayerwiseError, LookupError):
    """A name was asked for that is not there.

    Parameters
    ----------
    what : str
        The kind of thing that was looked for, such as ``"layer"``.
    asked : str
        The name that was asked for.
    available : iterable of str
        The names that there are.
    hint : str, optional
        What to do about it.
    """

    def __init__(self, what: str, asked: str, available: Iterable[str], hint: str = "") -> None:
        names = list(dict.fromkeys(map(str, available)))
        near = nearest(asked, names) if isinstance(asked, str) else []
        if near:
            there = f"nearest: {', '.join(near)}"
        elif names:
            there = f"there are: {listed(names)}"
        else:
            there = "there are none"
        super().__init__(f"no {what} {shown(asked, _LONGEST_NAME)}; {there}" + (f". {hint}" if hint else ""))


class LayerNeverFired(LayerwiseError, RuntimeError):
    """A chosen layer's module was never called in the forward."""


class MissingPackage(LayerwiseError, ModuleNotFoundError):
    """A package is needed that is not installed."""


class InvalidLabels(LayerwiseError, ValueError):
    """Labels that are no integers, or that lie outside the classes."""


class InvalidData(LayerwiseError, ValueError):
    """Data, or a batch of it, that cannot be read as inputs and labels."""


class InvalidArgument(InvalidData, TypeError):
    """An argument or an option of a type or a size that it cannot have."""


class RunFailed(LayerwiseError, RuntimeError):
    """The caller's network or data failed in the middle of a run; what they raised is the ``__cause__``."""


class NoForwardDerivative(LayerwiseError, NotImplementedError):
    """An operation of the network that torch cannot derive in forward mode."""


class EmptyData(LayerwiseError, ValueError):
    """A split without a single sample."""


class InUse(LayerwiseError, RuntimeError):
    """A folder that another profile is writing to."""


class NotRepeatable(LayerwiseError, TypeError):
    """A loader that runs once, where a second run is needed."""


class NonFiniteFeatures(LayerwiseError, ArithmeticError):
    """NaN or infinity in the features of a layer."""


class BatchDependence(LayerwiseError, ValueError):
    """Features of a sample that depend on the samples beside it, on their order, or on padding."""


class BudgetExceeded(LayerwiseError, MemoryError):
    """No plan fits the memory budget."""


class NotAStore(LayerwiseError, ValueError):
    """A path that is not a layerwise store."""


class SchemaMismatch(LayerwiseError, ValueError):
    """A Dataset that is not a profile."""


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first names of a list, and how many there are.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    'a, b, ... (3 in all)'
    """
    first = ", ".join(_shortened(name) for name in names[:most])
    return first + (f", ... ({len(names)} in all)" if len(names) > most else "")


def nearest(asked: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The `count` names most like the one that was asked for, best first."""
    lowered = {name.lower(): name for name in names}
    if len(asked) > _LONGEST_WORD:
        return []
    return [lowered[match] for match in difflib.get_close_matches(asked.lower(), lowered, n=count, cutoff=0.5)]


def escaped(text: str) -> str:
    """Text without characters that control a terminal or turn the direction of writing: they are spelled out.

    Examples
    --------
    >>> print(escaped("a\x1b[2Jb\u202ec"))
    a\\x1b[2Jb\\u202ec
    """
    return text if is_escaped(text) else "".join(repr(sign)[1:-1] if _is_unsafe(sign) else sign for sign in text)


def is_escaped(text: str) -> bool:
    """Whether text has no character that `escaped` spells out."""
    return not any(map(_is_unsafe, text))


def shown(value: object, longest: int = _LONGEST) -> str:
    """A value as a message shows it: what was typed, cut where it is long; of other things their type.

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
    """The type and the first words of another's error, in one line.

    Examples
    --------
    >>> cause_text(ValueError("no such column\\nin the table"))
    'ValueError: no such column in the table'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A worker of a DataLoader puts its whole traceback into the message, the error itself last.
    if any(line.startswith("Original Traceback") for line in lines):
        return lines[-1]
    text = " ".join(lines)
    cut = f"{text[:_LONGEST_CAUSE]}..." if len(text) > _LONGEST_CAUSE else text
    return f"{type(error).__name__}: {cut}" if text else type(error).__name__


class _Repr(reprlib.Repr):
    """Shows plain values and containers of them; of all else the type, whatever its own text is."""

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
    """Text of at most about so many characters: its beginning and its end."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]} ({len(text):,} characters)"
