"""Arrays from `.npz` files and from scikit-learn."""

from __future__ import annotations

import zipfile

import numpy as np

from layerwise.data.digest import digest, existing
from layerwise.data.names import Request, Task
from layerwise.data.source import Reading
from layerwise.data.splits import with_train
from layerwise.errors import InvalidData, UnknownName

__all__ = ["read_npz", "read_sklearn"]

#: The data sets that come with scikit-learn, and what their labels are.
_SKLEARN: dict[str, Task] = {
    **dict.fromkeys(("breast_cancer", "digits", "iris", "wine"), "classification"),
    **dict.fromkeys(("diabetes", "linnerud"), "regression"),
}


def read_npz(request: Request) -> Reading:
    """Read the arrays `x_train, y_train, x_test, y_test`, or any `x_SPLIT, y_SPLIT`, or `x, y`."""
    path = existing(request.path, "file")
    try:
        file = np.load(path, allow_pickle=False)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InvalidData(f"{request.path!r} cannot be read as an .npz file: {error}") from error
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise InvalidData(f"{request.path!r} is one array; an .npz file with the arrays x and y is needed")
    with file:
        names = with_train({key[2:] or "train": key[1:] for key in file.files if key == "x" or key.startswith("x_")})
        if not names:
            raise InvalidData(f"{request.path!r} has no array x or x_train; it has {', '.join(file.files)}")
        splits = {}
        for split in request.choose(names):
            inputs, labels = (_array(file, side + names[split]) for side in "xy")
            if inputs.ndim == 0 or labels.ndim == 0 or len(inputs) != len(labels):
                raise InvalidData(
                    f"x{names[split]} has shape {inputs.shape}, y{names[split]} has shape {labels.shape}: "
                    "their lengths must be equal"
                )
            splits[split] = (inputs, labels)
    texts = all(inputs.dtype.kind == "U" and inputs.ndim == 1 for inputs, _ in splits.values())
    content = digest(*(part for name in splits for part in (name, *splits[name])))
    return Reading("text" if texts else "array", splits, content)


def read_sklearn(request: Request) -> Reading:
    """Read one of the small data sets that scikit-learn brings along."""
    from sklearn import datasets

    if request.path not in _SKLEARN:
        raise UnknownName("data set of scikit-learn", request.path, _SKLEARN)
    request.choose(["train"])
    bunch = getattr(datasets, f"load_{request.path}")()
    inputs, labels = np.asarray(bunch.data), np.asarray(bunch.target)
    task = _SKLEARN[request.path]
    names = tuple(str(name) for name in bunch.target_names) if task == "classification" else None
    return Reading("array", {"train": (inputs, labels)}, digest(inputs, labels), names, task)


def _array(file: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    if key not in file.files:
        raise UnknownName("array", key, file.files)
    try:
        return np.asarray(file[key])
    except ValueError as error:
        raise InvalidData(f"the array {key!r} cannot be read: {error}") from error
