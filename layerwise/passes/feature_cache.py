"""The feature cache: reduced features of pass 1, kept for pass 2 so that the network need not run again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
import xxhash
from torch import Tensor

from layerwise.errors import BudgetExceeded
from layerwise.runtime.checksummed_files import Damaged, checksum
from layerwise.runtime.temporary_folders import Scratch
from layerwise.runtime.tensors import bytes_of

__all__ = ["CacheSection", "Contents", "FeatureCache"]

#: Shape and type of every batch of a key.
Batches = list[tuple[tuple[int, ...], torch.dtype]]

#: By key, the batches and the checksum of their file.
Contents = dict[str, tuple[Batches, str]]


class FeatureCache:
    """Keeps the features of every layer batch by batch, in memory or in files.

    A context manager: afterwards everything is gone that is not in a folder of the caller's. Files are read with plain
    reads and not mapped, since pages of a mapped file count as memory of the process.

    Parameters
    ----------
    where : {"memory", "disk"}
    folder : Path, optional
        Where the files lie, and stay (see `save`); by default a temporary folder.
    """

    def __init__(self, where: Literal["memory", "disk"] = "memory", folder: Path | None = None) -> None:
        self.where = where
        self._kept: dict[str, list[Tensor]] = {}
        self._filed: dict[str, Batches] = {}
        self._checksums: dict[str, xxhash.xxh3_128] = {}
        self._temporary = (
            Scratch(Path(tempfile.gettempdir()), "layerwise-features-") if where == "disk" and folder is None else None
        )
        self._folder = folder if self._temporary is None else self._temporary.__enter__()

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.clear()
        if self._temporary is not None:
            self._temporary.__exit__()

    def put(self, key: str, values: Tensor) -> None:
        """Append a batch under a key.

        Raises
        ------
        BudgetExceeded
            If the disk is full.
        """
        if self.where == "memory":
            self._kept.setdefault(key, []).append(values.clone() if values.device.type == "cpu" else values.cpu())
        else:
            self._file(key, [values])

    def get(self, key: str) -> Iterator[Tensor]:
        """Yield the batches of a key, in the order in which they were put; none if the key is unknown."""
        if self.where == "memory":
            yield from self._kept.get(key, ())
        elif key in self._filed:
            yield from self._read(key)

    def save(self) -> Contents:
        """Write everything into the folder; return what `restore` needs to read it again."""
        for key, batches in self._kept.items():
            self._file(key, batches[len(self._filed.get(key, ())) :])
        return {key: (list(batches), self._checksums[key].hexdigest()) for key, batches in self._filed.items()}

    def restore(self, contents: Contents) -> None:
        """Read what a cache in the same folder saved; what it put afterwards is cut off.

        Raises
        ------
        Damaged
            If a file has changed.
        """
        self._filed = {key: list(batches) for key, (batches, _) in contents.items()}
        for key, (batches, expected) in contents.items():
            path, length = self._path(key), sum(_bytes(shape, dtype) for shape, dtype in batches)
            self._checksums[key] = checksum(path, length)
            if self._checksums[key].hexdigest() != expected:
                raise Damaged(f"{path} is damaged or cut short")
            with path.open("r+b") as file:
                file.truncate(length)
            if self.where == "memory":
                self._kept[key] = list(self._read(key))

    def _file(self, key: str, batches: list[Tensor]) -> None:
        # A file that an earlier cache left in the folder, and nobody restored, is overwritten.
        mode: Literal["ab", "wb"] = "ab" if key in self._filed else "wb"
        filed = self._filed.setdefault(key, [])
        digest = self._checksums.setdefault(key, xxhash.xxh3_128())
        try:
            with self._path(key).open(mode) as file:
                for values in batches:
                    raw = bytes_of(values)
                    file.write(raw)
                    digest.update(raw)
                    filed.append((tuple(values.shape), values.dtype))
        except OSError as error:
            raise BudgetExceeded(
                f"the features that wait for the second pass do not fit into {self._folder}: {error.strerror}; "
                "choose fewer layers, reduce='gap', or another folder by the environment variable TMPDIR"
            ) from error

    def _read(self, key: str) -> Iterator[Tensor]:
        with self._path(key).open("rb") as file:
            for shape, dtype in self._filed[key]:
                raw = bytearray(_bytes(shape, dtype))
                if file.readinto(raw) != len(raw):
                    raise Damaged(f"{self._path(key)} was cut short while it was in use")
                yield torch.frombuffer(raw, dtype=dtype).view(shape)

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{list(self._filed).index(key)}.bin"


class CacheSection:
    """A part of a feature cache, with keys of its own."""

    def __init__(self, feature_cache: FeatureCache, name: str) -> None:
        self._cache = feature_cache
        self._name = name

    def put(self, key: str, values: Tensor) -> None:
        """Append a batch under a key, as `FeatureCache.put` does."""
        self._cache.put(f"{self._name}: {key}", values)

    def get(self, key: str) -> Iterator[Tensor]:
        """Yield the batches of a key, as `FeatureCache.get` does."""
        return self._cache.get(f"{self._name}: {key}")

    def save(self) -> Contents:
        """Write the whole cache into its folder, as `FeatureCache.save` does."""
        return self._cache.save()

    def restore(self, contents: Contents) -> None:
        """Restore the whole cache, as `FeatureCache.restore` does."""
        self._cache.restore(contents)


def _bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return torch.Size(shape).numel() * dtype.itemsize
