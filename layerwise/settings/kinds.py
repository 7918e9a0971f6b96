"""What every setting can be: the kind of each field of `Settings`, and how it is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from layerwise.arguments import (
    FLAG,
    Kind,
    anything,
    choice,
    either,
    instance,
    mapping,
    names,
    number,
    optional,
    parsed,
    several,
    whole,
)
from layerwise.errors import InvalidArgument, shown
from layerwise.features.reduction import REDUCTIONS, check_reduction
from layerwise.metrics import Convention, convention
from layerwise.runtime.byte_sizes import parse_memory
from layerwise.theory.frames import Frame, as_frame

__all__ = ["CLASSES", "KINDS", "AskedFrame"]

#: A frame by name, as `layerwise.theory.predict` returns it, or by its Gram matrix ``(K, K)``.
AskedFrame = str | Frame | np.ndarray


def _reduction(name: str) -> str:
    check_reduction(name)
    return name


def _memory(value: str | int) -> str | int:
    parse_memory(value)
    return value


def _convention(value: str | Convention) -> str | Convention:
    convention(value)
    return value


def _frame(value: Any) -> Any:
    if isinstance(value, (str, Frame)):
        as_frame(value, 0)
        return value
    return np.asarray(Frame(value).gram)


def _class_names(value: Any) -> list[str]:
    class_names = list(value)
    numbered = all(isinstance(name, (int, np.integer)) and not isinstance(name, bool) for name in class_names)
    if numbered and [*map(int, class_names)] == [*range(len(class_names))]:
        return [*map(str, class_names)]
    if not all(isinstance(name, str) for name in class_names):
        raise InvalidArgument(f"classes={shown(class_names)}: names of classes are text; {_CLASSES_TAKE}")
    return [*map(str, class_names)]


_CLASSES_TAKE = "classes are a number above 0 or a list of names, or either of them for each target"
#: A number of classes, or their names.
CLASSES = either(
    _CLASSES_TAKE,
    whole("", 1, 10**9),
    parsed("", _class_names, (list, tuple, range, np.ndarray), least=1),
)
_FRAME_TAKES = "a frame is 'etf', 'orthogonal', a Gram matrix (K, K), or what layerwise.theory.predict expects"
_FRAME = parsed(_FRAME_TAKES, _frame, (str, Frame, np.ndarray, torch.Tensor, list, tuple))

#: What every setting can be.
KINDS: dict[str, Kind] = {
    "layers": either(
        "layers are 'blocks', 'stages', 'leaves', 'all', a name or a glob as text, a list of those, or a function",
        names(""),
        anything("", lambda value: callable(value) and not isinstance(value, (type, torch.nn.Module))),
    ),
    "reduce": parsed(f"a reduction is one of {', '.join(REDUCTIONS)}", _reduction),
    "metrics": optional(names("metrics are a name or a glob, or a list of them with one at least", least=1)),
    "classes": optional(either(_CLASSES_TAKE, CLASSES, mapping("", CLASSES))),
    "heads": optional(
        mapping(
            "heads says for each target which output or layer judges it, such as {'label': 'fc2'}",
            instance("", str),
        )
    ),
    "convention": parsed("a convention is a name or a Convention", _convention, (str, Convention)),
    "debiased": FLAG,
    "frame": optional(either(f"{_FRAME_TAKES}, or one of them for each target", _FRAME, mapping("", _FRAME))),
    "standardize": FLAG,
    "memory": optional(parsed("a memory budget is written like '8GiB', or is a number of bytes", _memory, (str, int))),
    "nonfinite": choice("way to treat NaN", ("raise", "drop")),
    "ridge": number("the regularisation is a number of 0 or more", 0),
    "seed": whole("a seed is a whole number of 0 or more"),
    "directions": either(
        "it is neither 'exact' nor a number of random directions, such as 8",
        whole("", 1, 10**6),
        anything("", lambda value: value == "exact"),
    ),
    "ignore_index": optional(
        either(
            "labels that do not count are a whole number, or a list of them",
            whole("", -(2**63)),
            several("", whole("", -(2**63))),
        )
    ),
    "samples_per_class": optional(whole("1 or more are drawn of each class, a whole number", 1)),
    "jackknife": whole(
        "a whole number: 2 groups of samples at least, 10 are usual, or 0 for none", leave_out=(1,), most=10**6
    ),
    "null": whole(
        "a whole number: 2 shuffles of the labels at least, 39 for a band of 95%, or 0 for none",
        leave_out=(1,),
        most=10**6,
    ),
    "check": FLAG,
    "trust_remote_code": FLAG,
}
