"""The samples of a data name: the reader of its scheme, labels, subsets and held-out samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from layerwise.arguments import checked
from layerwise.data.digest import digest
from layerwise.data.labels import are_numbers, encode, numbers
from layerwise.data.names import DataName, parse
from layerwise.data.source import RawData, Rows, Source
from layerwise.data.subsets import hold_out, limit
from layerwise.errors import InvalidData
from layerwise.runtime.reading_errors import refusing

__all__ = ["read"]


@checked()
def read(name: str) -> Source:
    """Read data by name.

    Parameters
    ----------
    name : str
        ``imagefolder:DIR``, ``csv:FILE``, ``parquet:FILE``, ``npz:FILE``, ``hf:NAME`` (a data set on the hub, or
        a local folder) or ``sklearn:NAME``, and options after a question mark:

        - ``text=``, ``image=``, ``columns=A,B,C``: the column of the inputs, or the numeric columns that make
          up a feature vector; ``text=A,B``: pairs of texts; ``label=``: the column of the labels. By default, types
          and usual names decide. Paths of images are relative to the folder of the file. Several columns of numbers,
          ``label=A,B,C``, are a regression target of as many dimensions.
        - ``task=regression``: the labels are numbers, even if they are whole; ``task=classification``: they are
          classes. By default, fractions and several numbers for each sample are a regression target, and other labels
          are classes.
        - ``where=COLUMN:VALUE``: keep the rows of one value.
        - ``split=train,test``: read these splits only; ``config=``: the configuration of a data set on the hub.
        - ``test=0.2``: hold out this share as the split ``test``, stratified, always the same samples;
          ``test=FILE``: read the split ``test`` from this file.
        - ``limit=2000``: keep at most this many samples of a split, stratified, always the same samples.
        - ``seed=3``: draw other samples for ``test=0.2`` and ``limit=2000``.

    Returns
    -------
    Source
        The raw inputs and labels of every split. String labels become positions in their sorted order; integer
        labels keep their values. Regression targets are float64, NaN where one is missing.

    Raises
    ------
    UnknownName
        If a scheme, option, file, split, column or value does not exist.
    InvalidData, InvalidLabels, EmptyData
        If the data cannot be read as inputs, with one class or a target for each sample.

    Examples
    --------
    >>> source = read("sklearn:digits?test=0.2")
    >>> {split: len(rows) for split, rows in source.splits.items()}, len(source.classes)
    ({'train': 1438, 'test': 359}, 10)
    """
    request = parse(name)
    with refusing(f"{name!r:.200} cannot be read", OSError):
        reading = _reader(request.scheme)(request)
        if isinstance(request.test, str):
            reading = _with_test(reading, request, request.test)
    labels, classes = _labels(reading, request)
    splits = {
        split: Rows(inputs, labels[split], np.arange(len(labels[split])))
        for split, (inputs, _) in reading.splits.items()
    }
    if isinstance(request.test, float):
        if len(splits) != 1:
            raise InvalidData(f"test={request.test} needs one split to hold out from; there are {', '.join(splits)}")
        ((first, rows),) = splits.items()
        splits = dict(zip((first, "test"), hold_out(rows, request.test, request.seed), strict=True))
    if request.limit is not None:
        splits = {split: limit(rows, request.limit, request.seed) for split, rows in splits.items()}
    return Source(name, splits, reading.kind, classes, _fingerprint(reading, splits, classes), reading.notes)


def _labels(reading: RawData, request: DataName) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the labels of every split, and the names of the classes: none for a regression target."""
    raw = {split: labels for split, (_, labels) in reading.splits.items()}
    task = request.task or reading.task or ("regression" if are_numbers(raw) else "classification")
    if task == "regression":
        return numbers(raw), ()
    labels, classes = encode(raw, reading.classes)
    return labels, classes


def _reader(scheme: str) -> Callable[[DataName], RawData]:
    """Return the reader of a scheme; its libraries are imported only if the scheme is used."""
    match scheme:
        case "imagefolder":
            from layerwise.data.images import read_image_folder as reader
        case "npz":
            from layerwise.data.arrays import read_npz as reader
        case "sklearn":
            from layerwise.data.arrays import read_sklearn as reader
        case _:
            from layerwise.data.tables import read_table as reader
    return reader


def _with_test(reading: RawData, request: DataName, path: str) -> RawData:
    """Add the split `test` from a second file or folder."""
    if "test" in reading.splits:
        raise InvalidData(f"test={path}: {request.path!r} has a split 'test' already")
    if request.scheme in ("hf", "sklearn"):
        raise InvalidData(f"test={path}: a share between 0 and 1 is needed for {request.scheme!r}")
    other = _reader(request.scheme)(replace(request, path=path, splits=(), test=None))
    name = "test" if "test" in other.splits else next(iter(other.splits))
    if other.kind != reading.kind:
        raise InvalidData(f"{request.path!r} has inputs of the kind {reading.kind}, {path!r} of the kind {other.kind}")
    reading.notes.include(other.notes)
    return replace(
        reading,
        splits={**reading.splits, "test": other.splits[name]},
        content=digest(reading.content, other.content),
    )


def _fingerprint(reading: RawData, splits: dict[str, Rows], classes: tuple[str, ...]) -> str:
    samples = [part for split, rows in splits.items() for part in (split, rows.labels, rows.positions)]
    return digest(reading.kind, reading.content, *classes, *samples)
