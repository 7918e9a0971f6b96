"""The grammar of data names: `scheme:path?option=value&option=value`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from layerwise.errors import InvalidData, UnknownName

__all__ = ["SCHEMES", "DataName", "Task", "parse"]

#: Whether labels are classes or numbers.
Task = Literal["classification", "regression"]
_TASKS: dict[str, Task] = {"classification": "classification", "regression": "regression"}

_COMMON = ("split", "test", "limit", "seed")
_TABLE = (*_COMMON, "task", "text", "image", "columns", "label", "where")

#: The schemes, and the options of each.
SCHEMES: dict[str, tuple[str, ...]] = {
    "imagefolder": _COMMON,
    "csv": _TABLE,
    "parquet": _TABLE,
    "npz": (*_COMMON, "task"),
    "hf": (*_TABLE, "config"),
    "sklearn": (*_COMMON, "task"),
}


@dataclass(frozen=True)
class DataName:
    """The parts of a data name.

    Attributes
    ----------
    name : str
        The whole name.
    scheme, path : str
        The text before and after the first colon, without the options.
    splits : tuple of str
        The splits to read; empty for all splits.
    test : float, str or None
        The share to hold out as the split ``test``, or the path to read it from.
    limit : int or None
        The largest number of samples of a split.
    seed : int
        The seed of the draws that `test` and `limit` make.
    task : {"classification", "regression"}, optional
        The kind of labels; by default the values decide.
    where : tuple of (column, value)
        Only rows that have all these values are kept.
    options : mapping of str to str
        The columns of inputs and labels, and other options of the scheme.
    """

    name: str
    scheme: str
    path: str
    splits: tuple[str, ...] = ()
    test: float | str | None = None
    limit: int | None = None
    seed: int = 0
    task: Task | None = None
    where: tuple[tuple[str, str], ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def choose(self, available: Iterable[str]) -> list[str]:
        """Return those of the available splits that are to be read.

        Raises
        ------
        UnknownName
            If a split that was asked for is not available.
        """
        names = list(available)
        for asked in self.splits:
            if asked not in names:
                raise UnknownName("split", asked, names)
        return [name for name in names if not self.splits or name in self.splits]

    def choose_by(self, split_of: Mapping[str, str]) -> list[str]:
        """Return the splits to be read, where a split may have several names.

        Raises
        ------
        UnknownName
            If a split that was asked for is not available.
        """
        return list(dict.fromkeys(split_of[name] for name in self.choose(split_of)))


def parse(name: str) -> DataName:
    """Parse a data name.

    Raises
    ------
    UnknownName
        If a scheme or an option does not exist.
    InvalidData
        If an option has an invalid value.

    Examples
    --------
    >>> request = parse("csv:reviews.csv?text=body&where=source:imdb&limit=2000")
    >>> request.path, request.limit, request.where
    ('reviews.csv', 2000, (('source', 'imdb'),))
    """
    scheme, colon, rest = name.partition(":")
    if not colon or scheme not in SCHEMES:
        hint = "A data name looks like imagefolder:DIR or csv:FILE?text=COLUMN&label=COLUMN"
        raise UnknownName("kind of data", scheme, SCHEMES, hint)
    path, _, query = rest.partition("?")
    if not path:
        raise InvalidData(f"{name!r} names no {'data set' if scheme in ('hf', 'sklearn') else 'file or folder'}")
    pairs = []
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if key not in SCHEMES[scheme]:
            raise UnknownName(f"option of {scheme!r}", key, SCHEMES[scheme])
        if not equals or not value:
            raise InvalidData(f"the option {key!r} of {name!r} has no value: {key}=VALUE")
        pairs.append((key, unquote(value)))
    options = dict(pairs)
    return DataName(
        name=name,
        scheme=scheme,
        path=path,
        splits=tuple(options.pop("split").split(",")) if "split" in options else (),
        test=_test(options.pop("test")) if "test" in options else None,
        limit=_limit(options.pop("limit")) if "limit" in options else None,
        seed=_seed(options.pop("seed")) if "seed" in options else 0,
        task=_task(options.pop("task")) if "task" in options else None,
        where=tuple(_where(value) for key, value in pairs if key == "where"),
        options={key: value for key, value in options.items() if key != "where"},
    )


def _limit(value: str) -> int:
    if not value.isdecimal() or int(value) == 0:
        raise InvalidData(f"limit={value}: the most samples of a split, a whole number above 0")
    return int(value)


def _seed(value: str) -> int:
    if not value.isdecimal():
        raise InvalidData(f"seed={value}: the seed of the draws, a whole number from 0")
    return int(value)


def _test(value: str) -> float | str:
    try:
        share = float(value)
    except ValueError:
        return value
    if not 0 < share < 1:
        raise InvalidData(f"test={value}: a share between 0 and 1 to hold out, or the file of the test split")
    return share


def _task(value: str) -> Task:
    if value not in _TASKS:
        raise UnknownName("task", value, _TASKS)
    return _TASKS[value]


def _where(value: str) -> tuple[str, str]:
    column, colon, wanted = value.partition(":")
    if not colon:
        raise InvalidData(f"where={value}: a column and its value, where=COLUMN:VALUE")
    return column, wanted
