"""Kinds of arguments: each converts a value, or refuses it in one line that says what is accepted."""

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
    """A value that a kind does not accept."""


@dataclass(frozen=True)
class Kind:
    """The values that an argument accepts.

    Attributes
    ----------
    takes : str
        Description of the accepted values, for the message.
    convert : callable
        Converts a value, such as a number of NumPy to one of Python. Raises `_Unfit` for a value that is not accepted,
        or an error of the library with a message of its own.
    """

    takes: str
    convert: Callable[[Any], Any]

    def read(self, name: str, value: Any) -> Any:
        """Convert a value.

        Raises
        ------
        InvalidArgument
            If the value is not accepted; the message names the argument, the value, and what is accepted.
        """
        try:
            return self.convert(value)
        except _Unfit:
            raise InvalidArgument(f"{name}={shown(value)}: {self.takes}") from None


def whole(takes: str, least: int = 0, most: int = 2**63 - 1, *, leave_out: Collection[int] = ()) -> Kind:
    """Accept a whole number within bounds, of Python or NumPy; no truth value."""

    def convert(value: Any) -> int:
        if not _is_whole(value):
            raise _Unfit
        integer = int(value)
        if not least <= integer <= most or integer in leave_out:
            raise _Unfit
        return integer

    return Kind(takes, convert)


def number(takes: str, least: float = -math.inf, most: float = math.inf) -> Kind:
    """Accept a finite number within bounds."""

    def convert(value: Any) -> float:
        if not _is_number(value):
            raise _Unfit
        try:
            converted = float(value)
        except OverflowError:
            raise _Unfit from None
        if not math.isfinite(converted) or not least <= converted <= most:
            raise _Unfit
        return int(value) if _is_whole(value) else converted

    return Kind(takes, convert)


def fraction(takes: str) -> Kind:
    """Accept a number between 0 and 1, both excluded."""
    return number(takes, math.nextafter(0.0, 1.0), math.nextafter(1.0, 0.0))


def names(takes: str, *, least: int = 0) -> Kind:
    """Accept one name, or a list of names; none may be empty."""

    def convert(value: Any) -> str | list[str]:
        if isinstance(value, str) and value.strip():
            return str(value)
        if isinstance(value, (str, bytes, Mapping)):
            raise _Unfit
        try:
            items = [str(item) if isinstance(item, str) else item for item in value]
        except TypeError:
            raise _Unfit from None
        if len(items) < least or not all(isinstance(item, str) and item.strip() for item in items):
            raise _Unfit
        return items

    return Kind(takes, convert)


def one_name(takes: str) -> Kind:
    """Accept one name, or a list of one name."""

    def convert(value: Any) -> str:
        if isinstance(value, (list, tuple, np.ndarray)) and len(value) == 1:
            value = value[0]
        if not isinstance(value, str):
            raise _Unfit
        return str(value)

    return Kind(takes, convert)


def choice(what: str, available: Iterable[str]) -> Kind:
    """Accept one of a few words; for any other word, the message names the nearest."""
    words = list(available)

    def convert(value: Any) -> str:
        if not isinstance(value, str):
            raise _Unfit
        if value not in words:
            raise UnknownName(what, value, words)
        return value

    return Kind(f"a {what} is one of {', '.join(words)}", convert)


def parsed(takes: str, read: Callable[[Any], Any], types: type | tuple[type, ...] = str, *, least: int = 0) -> Kind:
    """Accept a value of some types that a function can read; a sequence must have at least `least` items.

    An error of the library that the function raises is passed on.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, types):
            raise _Unfit
        try:
            sized: Any = value
            if least and len(sized) < least:
                raise _Unfit
            return read(value)
        except (TypeError, ValueError) as error:
            if isinstance(error, LayerwiseError):
                raise
            raise _Unfit from None

    return Kind(takes, convert)


def instance(takes: str, *types: type) -> Kind:
    """Accept an object of one of these types."""

    def convert(value: Any) -> Any:
        if not isinstance(value, types):
            raise _Unfit
        return value

    return Kind(takes, convert)


def several(takes: str, inner: Kind, *, least: int = 1, most: int = 2**31) -> Kind:
    """Accept a list of values of one kind."""

    def convert(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple, range, np.ndarray)) or not least <= len(value) <= most:
            raise _Unfit
        return [inner.convert(item) for item in value]

    return Kind(takes, convert)


def mapping(takes: str, inner: Kind) -> Kind:
    """Accept a mapping of names to values of one kind."""

    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise _Unfit
        return {key: inner.convert(item) for key, item in value.items()}

    return Kind(takes, convert)


def either(takes: str, *kinds: Kind) -> Kind:
    """Accept a value of one of several kinds; the first that fits converts it."""

    def convert(value: Any) -> Any:
        for kind in kinds:
            try:
                return kind.convert(value)
            except _Unfit:
                continue
        raise _Unfit

    return Kind(takes, convert)


def optional(kind: Kind) -> Kind:
    """Accept None, or a value of a kind."""
    return Kind(kind.takes, lambda value: None if value is None else kind.convert(value))


def anything(takes: str, fits: Callable[[Any], bool]) -> Kind:
    """Accept a value for which `fits` is true, unchanged."""

    def convert(value: Any) -> Any:
        if not fits(value):
            raise _Unfit
        return value

    return Kind(takes, convert)


def checked(table: Mapping[str, Kind] | None = None, /, **kinds: Kind) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function so that kinds convert its arguments before it runs.

    An argument without a kind that is annotated as ``int``, ``float``, ``bool`` or ``str`` must have that type.

    Parameters
    ----------
    table : mapping of str to Kind, optional
        Kinds by the name of an argument.
    **kinds
        Kinds that override those of the table.

    Raises
    ------
    InvalidArgument
        When the function is called with an argument that is not of its kind, or without one that it needs.
    UnknownName
        When the function is called with an argument that it does not have; the message names the nearest.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)
        called = function.__qualname__.removesuffix(".__init__")
        assert kinds.keys() <= signature.parameters.keys(), f"{called} has no such arguments: {list(kinds)}"
        annotated = {name: _PLAIN.get(str(item.annotation)) for name, item in signature.parameters.items()}
        known = {name: kind for name, kind in annotated.items() if kind is not None} | {**(table or {}), **kinds}
        kind_of = {name: kind for name, kind in known.items() if name in signature.parameters}
        arguments = [name for name in signature.parameters if name != "self"]
        takes_any = any(item.kind is item.VAR_KEYWORD for item in signature.parameters.values())

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if not takes_any:
                refuse_unknown(f"argument of {called}", kwargs, arguments)
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise InvalidArgument(f"{called}: {error}") from None
            for name, value in bound.arguments.items():
                if name in kind_of:
                    bound.arguments[name] = kind_of[name].read(name, value)
            return function(*bound.args, **bound.kwargs)

        return call

    return decorate


def refuse_unknown(what: str, given: Iterable[str], available: Iterable[str]) -> None:
    """Raise `UnknownName` for the first given name that is not available."""
    known = list(available)
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
#: A printable name.
NAME = anything("a name is printable text, not empty and of at most 1,000 characters", _is_name)
#: The path of a file or folder that need not exist.
PATH = anything("it is a path", _is_path)

# Kinds by annotation. Bounds are for the function to state.
_PLAIN = {
    "int": anything("it is a whole number", _is_whole),
    "float": anything("it is a number", _is_number),
    "bool": FLAG,
    "str": anything("it is text", lambda value: isinstance(value, str)),
}
