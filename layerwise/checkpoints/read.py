"""From a file, or a folder that holds one, to its tensors."""

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

#: How the names of files with weights end; what an index names are several files of one state dict.
SUFFIXES = (".safetensors", ".pt", ".pth", ".pth.tar", ".bin", ".ckpt", ".index.json")

#: What the weights of a folder are called, the first that is there; such a file stands for its folder.
WHOLE = (
    "adapter_model.safetensors",
    "adapter_model.bin",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

# Beside the weights lies what a training needs to go on.
_OTHERS = ("optimizer", "scheduler", "scaler", "training_args", "rng_state", "random_states", "sampler")

# Bytes that are read at once.
_BLOCK = 2**22

# Where trainings keep the state dict in what they save.
_WRAPPINGS = ("state_dict", "model_state_dict", "model", "module", "network", "net")


def weight_file(path: Path) -> Path | None:
    """The file with the weights: `path` itself, or the one in a folder; None if there is none, or no telling which."""
    if not path.is_dir():
        return path if path.name.endswith(SUFFIXES) and path.is_file() else None
    for name in WHOLE:
        if (path / name).is_file():
            return path / name
    named = [item for item in path.iterdir() if item.name.endswith(SUFFIXES) and not item.name.startswith(_OTHERS)]
    there = [item for item in named if item.is_file()]
    return there[0] if len(there) == 1 else None


def weight_files(file: Path) -> list[Path]:
    """The file itself, or those that an index names.

    Raises
    ------
    InvalidData
        If one of those is not there, or the index is damaged.
    """
    if not file.name.endswith(".index.json"):
        return [file]
    with refusing(f"{file} is no index of weights"):
        names = sorted(set(json.loads(file.read_text())["weight_map"].values()))
        absent = [name for name in names if not (file.parent / name).is_file()]
    if absent:
        raise InvalidData(f"{file} names {len(names)} files, of which {listed(absent)} is not there")
    return [file.parent / name for name in names]


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The state dict of a file.

    Raises
    ------
    InvalidData
        If the file is damaged, holds more than data, or no state dict.
    """
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    tensors = _state_dict(read_pickle(file), file)
    _check_sums(file, tensors)
    return tensors


def read_pickle(file: Path) -> Any:
    """What `torch.save` wrote, as far as it is data; tensors stay on disk until they are used.

    Raises
    ------
    InvalidData
        If the file is damaged, or holds objects that only running code can make.
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
    """Whether a zip archive holds its content uncompressed, as it must for tensors to stay on disk."""
    with zipfile.ZipFile(file) as archive:
        return all(item.compress_type == zipfile.ZIP_STORED for item in archive.infolist())


def _check_sums(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a zip archive whose content is not what its sizes and checksums say, which torch does not look at."""
    if not zipfile.is_zipfile(file):
        return
    plain = [value for value in tensors.values() if type(value) in (Tensor, Parameter)]
    dense = [value.untyped_storage() for value in plain if value.layout == torch.strided and not value.is_meta]
    storages = {storage.data_ptr(): storage for storage in dense}
    with refusing(f"{file} is damaged"), zipfile.ZipFile(file) as archive:
        sizes = Counter(item.file_size for item in archive.infolist())
        if Counter(storage.nbytes() for pointer, storage in storages.items() if pointer) - sizes:
            raise InvalidData(f"{file} is damaged: tensors are larger than what it holds of them")
        # Torch can be told to write none.
        for item in (item for item in archive.infolist() if item.CRC):
            with archive.open(item) as member:
                while member.read(_BLOCK):
                    pass


def _harmless() -> list[Any]:
    """Plain data that trainings keep beside the weights, timm's arguments and best accuracy for example."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in "?bhilqefd"]
    old_name = (scalar, "numpy.core.multiarray.scalar")
    return [Namespace, PosixPath, np.dtype, scalar, old_name, *dtypes]


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    with refusing(f"{file} cannot be read"):
        return load_file(file)


def _state_dict(content: Any, file: Path) -> dict[str, Tensor]:
    """The tensors by name, inside the wrappings that are usual."""
    if isinstance(content, Mapping):
        for key in _WRAPPINGS:
            if isinstance(content.get(key), Mapping):
                return _state_dict(content[key], file)
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else ""
    there = f"there are the keys {keys}" if keys else f"it is a {type(content).__name__}"
    raise InvalidData(f"{file} has no state dict: looked for tensors by name, or {', '.join(_WRAPPINGS)}; {there}")


def _unsafe(file: Path) -> list[str]:
    """The classes and functions in a file that `torch.load` does not take for data."""
    try:
        with torch.serialization.safe_globals(_harmless()):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:
        # What cannot be looked through is told by what went wrong in the reading.
        return []
