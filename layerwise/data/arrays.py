"""Arrays from `.npz` files and from scikit-learn."""

from __future__ import annotations

import zipfile

import numpy as np
import psutil
from numpy.lib import format as npy

from layerwise.data.digest import digest, existing
from layerwise.data.names import DataName, Task
from layerwise.data.source import RawData
from layerwise.data.splits import with_train
from layerwise.errors import InvalidData, UnknownName, listed
from layerwise.runtime.extras import from_extra
from layerwise.runtime.reading_errors import refusing

__all__ = ["read_npz", "read_sklearn"]

#: The data sets that come with scikit-learn, and the task of each.
_SKLEARN: dict[str, Task] = {
    **dict.fromkeys(("breast_cancer", "digits", "iris", "wine"), "classification"),
    **dict.fromkeys(("diabetes", "linnerud"), "regression"),
}


def read_npz(request: DataName) -> RawData:
    """Read the arrays `x_train, y_train, x_test, y_test`, or any `x_SPLIT, y_SPLIT`, or `x, y`."""
    path = existing(request.path, "file")
    with refusing(f"{request.path!r} cannot be read as an .npz file"), path.open("rb") as raw:
        if raw.read(6) == npy.MAGIC_PREFIX:
            raise InvalidData(f"{request.path!r} is one array; an .npz file with the arrays x and y is needed")
        if not zipfile.is_zipfile(raw):
            raise InvalidData(f"{request.path!r} is no .npz file, or is cut short: it is no whole zip archive")
        raw.seek(0)
        with np.load(raw, allow_pickle=False) as file:
            splits = _splits(file, request)
    texts = all(inputs.dtype.kind == "U" and inputs.ndim == 1 for inputs, _ in splits.values())
    if not texts:
        for split, (inputs, _) in splits.items():
            if inputs.dtype.kind not in "biufc":
                raise InvalidData(
                    f"the inputs of split {split!r} in {request.path!r} are {inputs.dtype} of shape {inputs.shape}; "
                    "numbers, or strings of shape (n,), are needed"
                )
    content = digest(*(part for name in splits for part in (name, *splits[name])))
    return RawData("text" if texts else "array", splits, content)


def read_sklearn(request: DataName) -> RawData:
    """Read one of the small data sets that scikit-learn brings along."""
    if request.path not in _SKLEARN:
        raise UnknownName("data set of scikit-learn", request.path, _SKLEARN)
    request.choose(["train"])
    with from_extra("sklearn", f"the data set {request.path!r}"):
        from sklearn import datasets

    bunch = getattr(datasets, f"load_{request.path}")()
    inputs, labels = np.asarray(bunch.data), np.asarray(bunch.target)
    task = _SKLEARN[request.path]
    names = tuple(str(name) for name in bunch.target_names) if task == "classification" else None
    return RawData("array", {"train": (inputs, labels)}, digest(inputs, labels), names, task)


def _splits(file: np.lib.npyio.NpzFile, request: DataName) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the inputs and labels of every split that was asked for."""
    names = with_train({key[2:] or "train": key[1:] for key in file.files if key == "x" or key.startswith("x_")})
    if not names:
        raise InvalidData(f"{request.path!r} has no array x or x_train; it has {listed(file.files) or 'none'}")
    splits = {}
    for split in request.choose(names):
        inputs, labels = (_array(file, side + names[split], request.path) for side in "xy")
        if inputs.ndim == 0 or labels.ndim == 0 or len(inputs) != len(labels):
            raise InvalidData(
                f"x{names[split]} has shape {inputs.shape}, y{names[split]} has shape {labels.shape} in "
                f"{request.path!r}: their lengths must be equal"
            )
        splits[split] = (inputs, labels)
    return splits


def _array(file: np.lib.npyio.NpzFile, key: str, path: str) -> np.ndarray:
    if key not in file.files:
        raise UnknownName("array", key, file.files, hint=f"The file is {path!r}")
    with refusing(f"the array {key!r} of {path!r} cannot be read"):
        members = [] if file.zip is None else file.zip.infolist()
        size = max(item.file_size for item in members if item.filename in (key, f"{key}.npy"))
        free = psutil.virtual_memory().available
        if size > free:
            raise InvalidData(f"the array {key!r} of {path!r} has {size:,} bytes, and {free:,} are free in memory")
        array = file[key]
        # A member without the header of an array is read as bytes.
        if not isinstance(array, np.ndarray):
            raise InvalidData(f"{key!r} of {path!r} is no array")
        return array
