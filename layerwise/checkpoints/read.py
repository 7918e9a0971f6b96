"""The tensors of a file, or of the file in a folder."""

from __future__ import annotations

import json
import zipfile
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from layerwise.errors import InvalidData, listed
from layerwise.runtime.reading_errors import refusing

__all__ = ["SUFFIXES", "WHOLE", "read_pickle", "read_tensors", "weight_file", "weight_files"]

#: Endings of files with weights; an index names several files of one state dict.
SUFFIXES = (".safetensors", ".pt", ".pth", ".pth.tar", ".bin", ".ckpt", ".index.json")

#: Names of the file with a folder's weights, by precedence.
WHOLE = (
    "adapter_model.safetensors",
    "adapter_model.bin",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

# Beginnings of files with other state of a training.
_OTHERS = ("optimizer", "scheduler", "scaler", "training_args", "rng_state", "random_states", "sampler")

# Bytes that are read at once.
_BLOCK = 2**22

# Entries in which trainings save the state dict.
_WRAPPINGS = ("state_dict", "model_state_dict", "model", "module", "network", "net")


def weight_file(path: Path) -> Path | None:
    """Return the file with the weights: `path` itself, or the one in a folder; None if there is none, or several."""
    if not path.is_dir():
        return path if path.name.endswith(SUFFIXES) and path.is_file() else None
    for name in WHOLE:
        if (path / name).is_file():
            return path / name
    named = [item for item in path.iterdir() if item.name.endswith(SUFFIXES) and not item.name.startswith(_OTHERS)]
    files = [item for item in named if item.is_file()]
    return files[0] if len(files) == 1 else None


def weight_files(file: Path) -> list[Path]:
    """Return the file itself, or the files that an index names.

    Raises
    ------
    InvalidData
        If a file is missing, or the index is damaged.
    """
    if not file.name.endswith(".index.json"):
        return [file]
    with refusing(f"{file} is no index of weights"):
        names = sorted(set(json.loads(file.read_text())["weight_map"].values()))
        missing = [name for name in names if not (file.parent / name).is_file()]
    if missing:
        raise InvalidData(f"{file} names {len(names)} files, of which {listed(missing)} is not there")
    return [file.parent / name for name in names]


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read the state dict of a file.

    Raises
    ------
    InvalidData
        If the file is damaged, contains more than data, or has no state dict.
    """
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    tensors = _state_dict(read_pickle(file), file)
    _check_sums(file, tensors)
    return tensors


def read_pickle(file: Path) -> Any:
    """Read data that `torch.save` wrote; tensors stay on disk until they are used.

    Raises
    ------
    InvalidData
        If the file is damaged, or contains objects that need code to be read.
    """
    with refusing(f"{file} cannot be read"):
        in_zip = zipfile.is_zipfile(file)
        try:
            with torch.serialization.safe_globals(_harmless()):
                return torch.load(file, map_location="cpu", weights_only=True, mmap=in_zip and _is_stored(file))
        except Exception as error:
            unsafe = _unsafe(file) if in_zip else []
            if not unsafe:
                raise
            raise InvalidData(
                f"{file} holds {listed(unsafe)} beside tensors, which are not unpickled, since that can run code; save "
                "the state dict alone"
            ) from error


def _is_stored(file: Path) -> bool:
    """Whether a zip archive is uncompressed, as it must be for tensors to stay on disk."""
    with zipfile.ZipFile(file) as archive:
        return all(item.compress_type == zipfile.ZIP_STORED for item in archive.infolist())


def _check_sums(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a zip archive whose content differs from its sizes and checksums, which torch does not check."""
    if not zipfile.is_zipfile(file):
        return
    plain = [value for value in tensors.values() if type(value) in (Tensor, Parameter)]
    dense = [value.untyped_storage() for value in plain if value.layout == torch.strided and not value.is_meta]
    storages = {storage.data_ptr(): storage for storage in dense}
    with refusing(f"{file} is damaged"), zipfile.ZipFile(file) as archive:
        sizes = Counter(item.file_size for item in archive.infolist())
        if Counter(storage.nbytes() for pointer, storage in storages.items() if pointer) - sizes:
            raise InvalidData(f"{file} is damaged: tensors are larger than what it holds of them")
        # Torch can be set to write no checksums.
        for item in (item for item in archive.infolist() if item.CRC):
            with archive.open(item) as member:
                while member.read(_BLOCK):
                    pass


def _harmless() -> list[Any]:
    """Return the types of plain data that trainings save with the weights, such as timm's arguments and accuracy."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in "?bhilqefd"]
    old_name = (scalar, "numpy.core.multiarray.scalar")
    return [Namespace, PosixPath, np.dtype, scalar, old_name, *dtypes]


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    with refusing(f"{file} cannot be read"):
        return load_file(file)


def _state_dict(content: Any, file: Path) -> dict[str, Tensor]:
    """Return the tensors by name, inside of the usual entries."""
    if isinstance(content, Mapping):
        for key in _WRAPPINGS:
            if isinstance(content.get(key), Mapping):
                return _state_dict(content[key], file)
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    keys = listed(list(map(str, content))) if isinstance(content, Mapping) else ""
    actual = f"there are the keys {keys}" if keys else f"it is a {type(content).__name__}"
    raise InvalidData(f"{file} has no state dict: looked for tensors by name, or {', '.join(_WRAPPINGS)}; {actual}")


def _unsafe(file: Path) -> list[str]:
    """Return the classes and functions in a file that `torch.load` refuses."""
    try:
        with torch.serialization.safe_globals(_harmless()):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:
        # The error of the reading itself explains a file that cannot be searched.
        return []
