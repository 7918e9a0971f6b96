"""The inputs and the labels of a batch of several items; a batch that can be read in two ways is refused."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor, nn

from layerwise.errors import InvalidData
from layerwise.runtime.progress import logger

__all__ = ["Parameters", "parameters_of", "pick_items", "split"]

_LABELS = ("labels", "label", "targets", "target", "y")
_INPUTS = ("inputs", "input", "image", "images", "x")
# Names of entries that number a sample or name its file.
_IDENTIFIERS = (
    *("idx", "index", "indices", "id", "ids", "guid", "uid", "sample_id", "sample_idx", "image_id", "example_id"),
    *("path", "paths", "file", "files", "filename", "filenames", "file_name", "image_path"),
)
_WAY_OUT = "Give pairs, (inputs, labels), or a mapping, such as {'x': inputs, 'labels': labels}"


@dataclass(frozen=True)
class Parameters:
    """The parameters of a network's forward.

    Attributes
    ----------
    names : tuple of str
        Parameters that can be given by position, in order.
    required : int
        Number of these without a default.
    by_name : frozenset of str
        All parameters that can be given by name.
    any_position, any_name : bool
        Whether the forward takes ``*args`` and ``**kwargs``.
    """

    names: tuple[str, ...]
    required: int
    by_name: frozenset[str]
    any_position: bool
    any_name: bool


def parameters_of(model: nn.Module) -> Parameters | None:
    """Return the parameters of a network's forward; None if it has no signature."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = [item.kind for item in parameters]
    positional = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    named = [item for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)]
    return Parameters(
        names=tuple(item.name for item in positional),
        required=sum(item.default is item.empty for item in positional),
        by_name=frozenset(item.name for item in named),
        any_position=inspect.Parameter.VAR_POSITIONAL in kinds,
        any_name=inspect.Parameter.VAR_KEYWORD in kinds,
    )


def pick_items(raw: Any, parameters: Parameters | None) -> Any:
    """Leave out the items of a batch that are neither input nor label: the result is a pair or a mapping.

    Batches of other types are returned unchanged.

    Raises
    ------
    InvalidData
        If the batch can be read in two ways.
    """
    if isinstance(raw, Mapping):
        return _pick_entries(raw, parameters)
    if isinstance(raw, (tuple, list)) and len(raw) > 2:
        return _pair_of(list(raw), parameters)
    return raw


def split(raw: Any) -> tuple[Any, Any]:
    """Return the inputs and the labels of a batch.

    Raises
    ------
    InvalidData
        If the batch has no labels, or can be read in two ways.
    """
    raw = pick_items(raw, None)
    if isinstance(raw, Mapping):
        key = _label_key(raw, None)
        rest = {name: value for name, value in raw.items() if name != key}
        plain = [name for name in _INPUTS if name in rest]
        return (rest[plain[0]] if len(rest) == 1 and plain else rest), raw[key]
    if isinstance(raw, (tuple, list)) and len(raw) == 2:
        return raw[0], raw[1]
    raise InvalidData(f"a batch must be (inputs, labels) or a mapping with labels; it is a {type(raw).__name__}")


def _pick_entries(raw: Mapping[str, Any], parameters: Parameters | None) -> Any:
    """Leave out the entries of a mapping that are neither input nor label."""
    key = _label_key(raw, parameters)
    taken = parameters.by_name if parameters is not None else frozenset()
    rest = {name: value for name, value in raw.items() if name != key and (name not in _LABELS or name in taken)}
    others = [name for name in rest if name not in taken and _is_called_labels(name) and _may_be_labels(rest[name])]
    if others:
        names = " and ".join(map(repr, [key, *others]))
        raise InvalidData(
            f"a batch can be read in two ways: {names} may be its labels. Leave out all but one, or give them as "
            "targets, (inputs, {name: labels})"
        )
    if parameters is None:
        return {**rest, key: raw[key]}
    unused = [name for name in rest if name not in taken and (name.lower() in _IDENTIFIERS or _is_text(rest[name]))]
    if unused and len(unused) < len(rest):
        _log_once(f"entries of a batch that the network does not take are left out: {', '.join(unused)}")
        rest = {name: value for name, value in rest.items() if name not in unused}
    if len(rest) == 1 and not parameters.any_name and not taken & set(rest):
        # The only entry is the network's input, whatever its name.
        return next(iter(rest.values())), raw[key]
    return {**rest, key: raw[key]}


def _label_key(raw: Mapping[str, Any], parameters: Parameters | None) -> str:
    """Return the key of a mapping's labels."""
    needed = parameters.names[: parameters.required] if parameters is not None else ()
    keys = [key for key in _LABELS if key in raw and key not in needed]
    if not keys:
        alike = [name for name in raw if _is_called_labels(str(name))]
        hint = f"; {', '.join(alike)} may be some: give them as targets, (inputs, {{name: labels}})" if alike else ""
        raise InvalidData(f"a batch has no labels: its keys are {list(raw)}, looked for {list(_LABELS)}{hint}")
    different = [key for key in keys[1:] if not _are_equal(raw[keys[0]], raw[key])]
    if different:
        raise InvalidData(
            f"a batch can be read in two ways: its labels are {keys[0]!r}, or {different[0]!r}, which differ. "
            "Leave one out, or give both as targets, (inputs, {name: labels})"
        )
    return keys[0]


def _pair_of(items: list[Any], parameters: Parameters | None) -> tuple[Any, Any]:
    """Return the inputs and the labels of a batch of three items or more."""
    if parameters is not None and parameters.required == len(items) - 1:
        names = parameters.names[: parameters.required]
        if not any(map(_is_called_labels, names)) and not _is_text(items[-1]):
            return tuple(items[:-1]), items[-1]
    kept = [place for place, item in enumerate(items) if place == 0 or not _is_identifier(item)]
    if len(kept) < len(items):
        _log_once("strings in a batch, one for each sample, are left out: they are neither inputs nor labels")
    inputs = [items[place] for place in kept[:-1]]
    if len(kept) == 2:
        return inputs[0], items[kept[-1]]
    last = kept[-1]
    candidates = [place for place in kept if _may_be_labels(items[place], first=place == 0)]
    room = parameters is None or parameters.any_position or len(inputs) <= len(parameters.names)
    if room and candidates in ([last], []) and not _is_text(items[last]):
        return tuple(inputs), items[last]
    raise _ambiguous(items, candidates, None if room or parameters is None else len(parameters.names))


def _ambiguous(items: Sequence[Any], candidates: Sequence[int], takes: int | None) -> InvalidData:
    """Return the error for a batch with several readings, which it names."""
    descriptions = ", ".join(f"{place + 1}: {_described(item)}" for place, item in enumerate(items))
    places = list(dict.fromkeys([*candidates, len(items) - 1]))
    if len(places) == 1:
        places = list(range(1, len(items)))
    readings = "; or ".join(f"item {place + 1} is the labels, and {_others(items, place)}" for place in places)
    inputs = "" if takes is None else f", and the network takes {takes} input{'s' * (takes != 1)}"
    return InvalidData(
        f"a batch has {len(items)} items ({descriptions}){inputs}; it can be read in {len(places)} ways: {readings}. "
        + _WAY_OUT
    )


def _others(items: Sequence[Any], place: int) -> str:
    rest = [str(other + 1) for other in range(len(items)) if other != place]
    return f"{' and '.join(rest)} are inputs, an index or a weight"


def _described(item: Any) -> str:
    shape = _shape(item)
    if isinstance(item, Mapping):
        return f"a mapping of {', '.join(map(str, item))}"
    if _is_text(item):
        return "strings"
    kind = str(getattr(item, "dtype", "numbers")).removeprefix("torch.")
    return type(item).__name__ if shape is None else f"{kind} of shape {shape}"


def _shape(item: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor, an array or a list of numbers; None for anything else."""
    if isinstance(item, (Tensor, np.ndarray)):
        return tuple(item.shape)
    if isinstance(item, (list, tuple)) and item and all(isinstance(value, (int, float, np.generic)) for value in item):
        return (len(item),)
    return None


def _may_be_labels(item: Any, *, first: bool = False) -> bool:
    """Whether an item has one number for each sample, is a mapping, or strings that may name classes."""
    if isinstance(item, Mapping) or _is_text(item):
        return not first
    shape = _shape(item)
    vector = shape is not None and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))
    return vector and not (first and _is_floating(item))


def _is_floating(item: Any) -> bool:
    if isinstance(item, Tensor):
        return item.is_floating_point()
    return bool(np.asarray(item).dtype.kind == "f")


def _is_text(item: Any) -> bool:
    """Whether an item is strings or paths, one for each sample."""
    if isinstance(item, np.ndarray):
        return item.dtype.kind in "USO"
    return isinstance(item, (list, tuple)) and bool(item) and all(map(_is_word, item))


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, (str, bytes, os.PathLike))


def _is_identifier(item: Any) -> bool:
    """Whether an item is strings that differ for all samples, as paths do; names of classes repeat."""
    if not _is_text(item):
        return False
    values = list(map(str, item))
    return len(set(values)) == len(values)


def _is_called_labels(name: str) -> bool:
    words = name.lower().split("_")
    return bool({"label", "labels", "target", "targets"} & {words[0], words[-1]}) or name in _LABELS


def _are_equal(first: Any, second: Any) -> bool:
    try:
        return bool(np.array_equal(np.asarray(first), np.asarray(second)))
    except (TypeError, ValueError, RuntimeError):
        return first is second


@cache
def _log_once(line: str) -> None:
    """Log a line, once in a process."""
    logger.info("%s", line)
