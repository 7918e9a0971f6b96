"""What arguments can be: kinds of values, which read a value as it is meant, or say in one line what they take."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np

from layerwise.errors import InvalidArgument, LayerwiseError, UnknownName, is_escaped, shown

__all__ = [
    "FLAG",
    "NAME",
    "PATH",
    "Kind",
    "anything",
    "checked",
    "choice",
    "either",
    "fraction",
    "instance",
    "mapping",
    "names",
    "number",
    "one_name",
    "optional",
    "parsed",
    "refuse_unknown",
    "several",
    "whole",
]

P = ParamSpec("P")
T = TypeVar("T")


class _Unfit(Exception):
    """A value that a kind does not take."""


@dataclass(frozen=True)
class Kind:
    """What an argument can be.

    Attributes
    ----------
    takes : str
        What it takes, in a few words for the message.
    convert : callable
        Takes a value and returns it as it is meant: a number of numpy's as Python's, say. It raises `_Unfit` for what
        it does not take, or an error of the library, with words of its own.
    """

    takes: str
    convert: Callable[[Any], Any]

    def read(self, name: str, value: Any) -> Any:
        """The value as it is meant.

        Raises
        ------
        InvalidArgument
            Naming the argument, the value, and what is taken.
        """
        try:
            return self.convert(value)
        except _Unfit:
            raise InvalidArgument(f"{name}={shown(value)}: {self.takes}") from None


def whole(takes: str, least: int = 0, most: int = 2**63 - 1, *, leave_out: Collection[int] = ()) -> Kind:
    """A whole number within bounds; Python's and numpy's, but no truth value."""

    def convert(value: Any) -> int:
        if not _is_whole(value):
            raise _Unfit
        found = int(value)
        if not least <= found <= most or found in leave_out:
            raise _Unfit
        return found

    return Kind(takes, convert)


def number(takes: str, least: float = -math.inf, most: float = math.inf) -> Kind:
    """A finite number within bounds."""

    def convert(value: Any) -> float:
        if not _is_number(value):
            raise _Unfit
        try:
            found = float(value)
        except OverflowError:
            raise _Unfit from None
        if not math.isfinite(found) or not least <= found <= most:
            raise _Unfit
        return int(value) if _is_whole(value) else found

    return Kind(takes, convert)


def fraction(takes: str) -> Kind:
    """A number between 0 and 1, neither of them."""
    return number(takes, math.nextafter(0.0, 1.0), math.nextafter(1.0, 0.0))


def names(takes: str, *, least: int = 0) -> Kind:
    """One name, or several of them in a list; none of them empty."""

    def convert(value: Any) -> str | list[str]:
        if isinstance(value, str) and value.strip():
            return str(value)
        if isinstance(value, (str, bytes, Mapping)):
            raise _Unfit
        try:
            found = [str(item) if isinstance(item, str) else item for item in value]
        except TypeError:
            raise _Unfit from None
        if len(found) < least or not all(isinstance(item, str) and item.strip() for item in found):
            raise _Unfit
        return found

    return Kind(takes, convert)


def one_name(takes: str) -> Kind:
    """One name, also where it stands alone in a list."""

    def convert(value: Any) -> str:
        if isinstance(value, (list, tuple, np.ndarray)) and len(value) == 1:
            value = value[0]
        if not isinstance(value, str):
            raise _Unfit
        return str(value)

    return Kind(takes, convert)


def choice(what: str, there: Iterable[str]) -> Kind:
    """One of a few words; another is answered with the nearest."""
    words = list(there)

    def convert(value: Any) -> str:
        if not isinstance(value, str):
            raise _Unfit
        if value not in words:
            raise UnknownName(what, value, words)
        return value

    return Kind(f"a {what} is one of {', '.join(words)}", convert)


def parsed(takes: str, read: Callable[[Any], Any], types: type | tuple[type, ...] = str, *, least: int = 0) -> Kind:
    """What a function reads, which raises an error of the library where it cannot; of a sequence so many at least."""

    def convert(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, types):
            raise _Unfit
        try:
            found: Any = value
            if least and len(found) < least:
                raise _Unfit
            return read(found)
        except (TypeError, ValueError) as error:
            if isinstance(error, LayerwiseError):
                raise
            raise _Unfit from None

    return Kind(takes, convert)


def instance(takes: str, *types: type) -> Kind:
    """An object of one of these types."""

    def convert(value: Any) -> Any:
        if not isinstance(value, types):
            raise _Unfit
        return value

    return Kind(takes, convert)


def several(takes: str, inner: Kind, *, least: int = 1, most: int = 2**31) -> Kind:
    """A list of values of one kind."""

    def convert(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple, range, np.ndarray)) or not least <= len(value) <= most:
            raise _Unfit
        return [inner.convert(item) for item in value]

    return Kind(takes, convert)


def mapping(takes: str, inner: Kind) -> Kind:
    """A mapping of names to values of one kind."""

    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise _Unfit
        return {key: inner.convert(item) for key, item in value.items()}

    return Kind(takes, convert)


def either(takes: str, *kinds: Kind) -> Kind:
    """What one of several kinds takes, the first that does."""

    def convert(value: Any) -> Any:
        for kind in kinds:
            try:
                return kind.convert(value)
            except _Unfit:
                continue
        raise _Unfit

    return Kind(takes, convert)


def optional(kind: Kind) -> Kind:
    """None, or what a kind takes."""
    return Kind(kind.takes, lambda value: None if value is None else kind.convert(value))


def anything(takes: str, fits: Callable[[Any], bool]) -> Kind:
    """What a test lets pass."""

    def convert(value: Any) -> Any:
        if not fits(value):
            raise _Unfit
        return value

    return Kind(takes, convert)


def checked(table: Mapping[str, Kind] | None = None, /, **own: Kind) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function so that its arguments are read by kinds, before it does anything.

    Arguments without a kind, that are annotated as a plain number, a truth value or text, have to be that.

    Parameters
    ----------
    table : mapping of str to Kind, optional
        Kinds by the name of an argument.
    **own
        Kinds that go before those of the table.

    Raises
    ------
    InvalidArgument
        From the function, for an argument that is not of its kind, or that is missing.
    UnknownName
        From the function, for an argument that it does not have, with the nearest.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)
        called = function.__qualname__.removesuffix(".__init__")
        assert own.keys() <= signature.parameters.keys(), f"{called} has no such arguments: {list(own)}"
        plain = {name: _PLAIN.get(str(item.annotation)) for name, item in signature.parameters.items()}
        known = {name: kind for name, kind in plain.items() if kind is not None} | {**(table or {}), **own}
        kinds = {name: kind for name, kind in known.items() if name in signature.parameters}
        there = [name for name in signature.parameters if name != "self"]
        takes_any = any(item.kind is item.VAR_KEYWORD for item in signature.parameters.values())

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if not takes_any:
                refuse_unknown(f"argument of {called}", kwargs, there)
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise InvalidArgument(f"{called}: {error}") from None
            for name, value in bound.arguments.items():
                if name in kinds:
                    bound.arguments[name] = kinds[name].read(name, value)
            return function(*bound.args, **bound.kwargs)

        return call

    return decorate


def refuse_unknown(what: str, given: Iterable[str], there: Iterable[str]) -> None:
    """Raise `UnknownName` for the first name that there is not."""
    known = list(there)
    for name in given:
        if name not in known:
            raise UnknownName(what, name, known)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= 1000 and is_escaped(value)


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike)) and bool(str(value).strip()) and "\0" not in str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise _Unfit
    return bool(value)


def _is_number(value: Any) -> bool:
    return not isinstance(value, (bool, np.bool_)) and isinstance(value, numbers.Real)


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Integral)


#: A truth value.
FLAG = Kind("it is True or False", _flag)
#: What a thing can be called.
NAME = anything("a name is printable text, not empty and of at most 1,000 characters", _is_name)
#: Where a file is, or can be.
PATH = anything("it is a path", _is_path)

# Kinds by annotation. What bounds a number has is for the function to say.
_PLAIN = {
    "int": anything("it is a whole number", _is_whole),
    "float": anything("it is a number", _is_number),
    "bool": FLAG,
    "str": anything("it is text", lambda value: isinstance(value, str)),
}
