"""Settings of a study: a frozen dataclass at three scales, changed by words or by a TOML file."""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from layerwise.errors import InvalidData, UnknownName

__all__ = ["SCALES", "changed", "from_toml", "from_words", "listed"]

#: How large a study runs: for the tests, for a laptop, and as in the paper.
SCALES = ("quick", "default", "full")

S = TypeVar("S")


def listed(settings: Any, before: str = "") -> dict[str, Any]:
    """Every setting by name; those of a dataclass within have its name and a dot in front.

    Examples
    --------
    >>> from layerwise.studies.training import Recipe
    >>> listed(Recipe(epochs=3))["epochs"]
    3
    """
    found: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        name = f"{before}{field.name}"
        found |= listed(value, f"{name}.") if is_dataclass(value) else {name: value}
    return found


def changed(settings: S, changes: Mapping[str, Any]) -> S:
    """The settings with some of them changed.

    Parameters
    ----------
    settings : dataclass
    changes : mapping of str to Any
        New values by name (``"recipe.epochs"`` within a dataclass), as themselves or as text.

    Raises
    ------
    UnknownName
        If there is no such setting.
    InvalidData
        If the value is none that it takes.

    Examples
    --------
    >>> from layerwise.studies.training import Recipe
    >>> changed(Recipe(epochs=3), {"epochs": "5"}).epochs
    5
    """
    there = listed(settings)
    for name in changes:
        if name not in there:
            inner = [known for known in there if known.endswith(f".{name}")]
            raise UnknownName("setting", name, there, f"did you mean {inner[0]}?" if inner else "")
    return _changed(settings, changes, "")


def from_words(words: list[str]) -> dict[str, str]:
    """Changes as a command line has them, ``key=value`` each.

    Raises
    ------
    InvalidData
        If one is not.
    """
    pairs = [word.partition("=") for word in words]
    for word, (name, equals, _) in zip(words, pairs, strict=True):
        if not name or not equals:
            raise InvalidData(f"{word!r} sets nothing: key=value does")
    return {name: value for name, _, value in pairs}


def from_toml(path: Path) -> dict[str, Any]:
    """Changes from a TOML file; a table in it is a dataclass within the settings.

    Raises
    ------
    InvalidData
        If there is no such file, or it is not TOML.
    """
    try:
        return dict(_flat(tomllib.loads(path.read_text(encoding="utf-8")), ""))
    except OSError as error:
        raise InvalidData(f"no settings can be read from {str(path)!r}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidData(f"{str(path)!r} is not TOML: {error}") from error


def _flat(table: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _changed(settings: S, changes: Mapping[str, Any], before: str) -> S:
    hints = typing.get_type_hints(type(settings))
    own: dict[str, Any] = {}
    for field in fields(settings):  # type: ignore[arg-type]
        name, value = f"{before}{field.name}", getattr(settings, field.name)
        if is_dataclass(value):
            own[field.name] = _changed(value, changes, f"{name}.")
        elif name in changes:
            own[field.name] = _read(name, changes[name], hints[field.name])
    return replace(settings, **own)  # type: ignore[type-var]


def _read(name: str, given: Any, hint: Any) -> Any:
    """A value of the type that the setting has."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if given not in inner:
            raise UnknownName(name, str(given), map(str, inner))
        return given
    if origin in (typing.Union, types.UnionType):
        if given is None or given == "none":
            return None
        (hint,) = (item for item in inner if item is not type(None))
        return _read(name, given, hint)
    if origin is tuple:
        items = given.strip("()[] ").split(",") if isinstance(given, str) else list(given)
        return tuple(
            _read(name, item.strip() if isinstance(item, str) else item, inner[0]) for item in items if item != ""
        )
    if hint is bool:
        if str(given).lower() not in ("true", "false"):
            raise InvalidData(f"{name}={given}: true or false")
        return str(given).lower() == "true"
    try:
        if hint is int and isinstance(given, float) and given != int(given):
            raise ValueError
        return hint(given)
    except (TypeError, ValueError) as error:
        kind = {int: "a whole number", float: "a number"}.get(hint, hint.__name__)
        raise InvalidData(f"{name}={given}: {kind}") from error
