"""Errors of other libraries on reading a file, as one line of our own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from layerwise.errors import InvalidData, LayerwiseError

__all__ = ["innermost", "reason", "refusing"]

# Characters of another library's message.
_LONGEST = 300
# Characters of a file's name in it.
_NAMED = 150

# Advice to run code from a file, or to lift a guard against it.
_ADVICE = re.compile(
    r"weights_only|allow_pickle|pickle\.load|safe_globals|trust_remote_code|max_header_size|sandboxing|trusted"
)
_UNREAD = "it holds more than plain data, and no code is run to read it"

# Errors that libraries raise by accident on unexpected content: their text alone explains little.
_UNEXPECTED = (ArithmeticError, AssertionError, AttributeError, IndexError, NameError, TypeError)


@contextmanager
def refusing(what: str, kinds: type[Exception] | tuple[type[Exception], ...] = Exception) -> Iterator[None]:
    """Raise errors within the context as `InvalidData`: on a broken file, libraries raise errors of any type.

    Parameters
    ----------
    what : str
        What cannot be done, with the file's name, such as ``"'a.npz' cannot be read as an .npz file"``.
    kinds : exception or tuple of exceptions
        Errors that are the file's fault. Errors of this library pass unchanged.

    Raises
    ------
    InvalidData
        With `what`, and the reason, in one line.

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


def reason(error: BaseException, context: str = "") -> str:
    """Return the message of an error: one printable line of bounded length, without advice to run code from a file.

    Parameters
    ----------
    error : exception
    context : str
        The rest of the message: a file that it names is not named again.

    Examples
    --------
    >>> reason(KeyError("epoch"))
    "there is no 'epoch'"
    >>> reason(PermissionError(13, "Permission denied", "a.json"))
    "Permission denied: 'a.json'"
    >>> reason(ValueError("The file has objects.\\nUse allow_pickle=True."))
    'The file has objects'
    """
    message = _message(error, context)
    # Torch puts the reason after much advice.
    inner = re.search(r"WeightsUnpickler error:\s*(.+)", message, re.DOTALL)
    printable = "".join(sign if sign.isprintable() else " " for sign in (inner[1] if inner else message))
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(printable.split()))
    text = " ".join(sentence for sentence in sentences if not _ADVICE.search(sentence)).rstrip(" .:")
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    name = type(error).__name__
    if not text:
        return _UNREAD if re.search("pickle|weights_only", message) else name
    return f"{name}: {text}" if isinstance(error, _UNEXPECTED) else text


def innermost(error: BaseException) -> BaseException:
    """Return the first cause of an error that libraries have wrapped."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _message(error: BaseException, context: str) -> str:
    """Return the message of an error, in words of our own for errors whose text is not a sentence."""
    if isinstance(error, KeyError) and len(error.args) == 1:
        return f"there is no {error.args[0]!r}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.object[error.start]:#x} at {error.start} is no {error.encoding}; save it in UTF-8"
    if isinstance(error, OSError) and error.strerror:
        file = "" if error.filename is None else str(error.filename)
        return error.strerror if file[:_NAMED] in context else f"{error.strerror}: {file!r:.{_NAMED}}"
    if isinstance(error, MemoryError) and not str(error):
        return "there is not enough memory"
    if isinstance(error, (EOFError, StopIteration)) and not str(error):
        return "it ends too early"
    return str(error)
