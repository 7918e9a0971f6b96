"""The bank: reduced features of pass 1, kept for pass 2 so that the network need not run again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Bank"]


class Bank:
    """Keeps the features of every layer batch by batch, in memory or in files of a temporary folder.

    A context manager: the folder is gone afterwards. Files are read back with plain reads and not mapped, since pages
    of a mapped file count as memory of the process.

    Parameters
    ----------
    where : {"memory", "disk"}
    """

    def __init__(self, where: Literal["memory", "disk"] = "memory") -> None:
        self.where = where
        self._kept: dict[str, list[Tensor]] = {}
        self._shapes: dict[str, list[tuple[torch.Size, torch.dtype]]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="layerwise-bank-") if where == "disk" else None

    def __enter__(self) -> Bank:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def put(self, key: str, values: Tensor) -> None:
        """Append a batch under a key."""
        if self._folder is None:
            self._kept.setdefault(key, []).append(values.clone() if values.device.type == "cpu" else values.cpu())
            return
        shapes = self._shapes.setdefault(key, [])
        with self._file(key).open("ab") as file:
            file.write(values.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        shapes.append((values.shape, values.dtype))

    def get(self, key: str) -> Iterator[Tensor]:
        """The batches of a key, in the order in which they were put; none of a key that was never put."""
        if self._folder is None:
            yield from self._kept.get(key, ())
            return
        if key not in self._shapes:
            return
        with self._file(key).open("rb") as file:
            for shape, dtype in self._shapes[key]:
                raw = bytearray(shape.numel() * dtype.itemsize)
                file.readinto(raw)
                yield torch.frombuffer(raw, dtype=dtype).view(shape)

    def _file(self, key: str) -> Path:
        assert self._folder is not None
        index = list(self._shapes).index(key)
        return Path(self._folder.name) / f"{index}.bin"
