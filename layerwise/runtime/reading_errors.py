"""What goes wrong in the reading of a file, in one line of our own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from layerwise.errors import InvalidData, LayerwiseError

__all__ = ["innermost", "reason", "refusing"]

# The most signs of a message of another library.
_LONGEST = 300
# The most signs of a file's name in it.
_NAMED = 150

# Advice to run what a file holds, or to lift a guard against it.
_ADVICE = re.compile(
    r"weights_only|allow_pickle|pickle\.load|safe_globals|trust_remote_code|max_header_size|sandboxing|trusted"
)
_UNREAD = "it holds more than plain data, and no code is run to read it"

# What libraries raise where they did not expect what they found: their text alone says little.
_UNEXPECTED = (ArithmeticError, AssertionError, AttributeError, IndexError, NameError, TypeError)


@contextmanager
def refusing(what: str, kinds: type[Exception] | tuple[type[Exception], ...] = Exception) -> Iterator[None]:
    """Raise what goes wrong within as `InvalidData`: a library may raise anything over a file that is broken.

    Parameters
    ----------
    what : str
        What cannot be done, with the file's name, such as ``"'a.npz' cannot be read as an .npz file"``.
    kinds : exception or tuple of exceptions
        What is taken for the file's fault; our own errors stay as they are.

    Raises
    ------
    InvalidData
        `what`, and the reason in one line.

    Examples
    --------
    >>> with refusing("'a.json' cannot be read"):
    ...     int("many")
    Traceback (most recent call last):
    ...
    layerwise.errors.InvalidData: 'a.json' cannot be read: invalid literal for int() with base 10: 'many'
    """
    try:
        yield
    except LayerwiseError:
        raise
    except kinds as error:
        raise InvalidData(f"{what}: {reason(error, what)}") from error


def reason(error: BaseException, beside: str = "") -> str:
    """What an error says: one printable line of bounded length, without advice to run what a file holds.

    Parameters
    ----------
    error : exception
    beside : str
        What is said with it: a file that is named there is not named again.

    Examples
    --------
    >>> reason(KeyError("epoch"))
    "there is no 'epoch'"
    >>> reason(PermissionError(13, "Permission denied", "a.json"))
    "Permission denied: 'a.json'"
    >>> reason(ValueError("The file has objects.\\nUse allow_pickle=True."))
    'The file has objects'
    """
    said = _said(error, beside)
    # Torch puts its own reason behind much advice.
    inner = re.search(r"WeightsUnpickler error:\s*(.+)", said, re.DOTALL)
    plain = "".join(sign if sign.isprintable() else " " for sign in (inner[1] if inner else said))
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(plain.split()))
    kept = " ".join(sentence for sentence in sentences if not _ADVICE.search(sentence)).rstrip(" .:")
    kept = kept if len(kept) <= _LONGEST else f"{kept[:_LONGEST]} ..."
    name = type(error).__name__
    if not kept:
        return _UNREAD if re.search("pickle|weights_only", said) else name
    return f"{name}: {kept}" if isinstance(error, _UNEXPECTED) else kept


def innermost(error: BaseException) -> BaseException:
    """The error that was the cause of all, where a library wraps what went wrong."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _said(error: BaseException, beside: str) -> str:
    if isinstance(error, KeyError) and len(error.args) == 1:
        return f"there is no {error.args[0]!r}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.object[error.start]:#x} at {error.start} is no {error.encoding}; save it in UTF-8"
    if isinstance(error, OSError) and error.strerror:
        file = "" if error.filename is None else str(error.filename)
        return error.strerror if file[:_NAMED] in beside else f"{error.strerror}: {file!r:.{_NAMED}}"
    if isinstance(error, MemoryError) and not str(error):
        return "there is not enough memory"
    if isinstance(error, (EOFError, StopIteration)) and not str(error):
        return "it ends too early"
    return str(error)
