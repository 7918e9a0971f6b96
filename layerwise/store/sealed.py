"""A Zarr store that checks what it reads: checksums of metadata and chunks, and no chunk silently missing."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import google_crc32c
import icechunk
import xxhash
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import WrapperStore

from layerwise.errors import listed
from layerwise.store.failures import NotReadable, reading

__all__ = ["PACKED", "SEAL", "SealedStore"]

#: The attribute of every group and array that holds the checksum of its metadata and its path.
SEAL = "layerwise_seal"

#: The attribute of an array that holds several variables: names, roles and attributes, in order.
PACKED = "layerwise_packed"

_METADATA = "zarr.json"
_CHUNK = re.compile(r"(?P<array>.*)/c(?P<index>(?:/\d+)*)")
_CRC_BYTES = 4


@dataclass(frozen=True)
class _Array:
    """The layout of an array, from its metadata."""

    names: tuple[str, ...]
    chunk: tuple[int, ...]
    #: Number of chunks along every axis when the session began.
    grid: tuple[int, ...]
    has_checksum: bool

    def holds(self, index: tuple[int, ...]) -> bool:
        return all(place < count for place, count in zip(index, self.grid, strict=True))

    def names_in(self, index: tuple[int, ...]) -> list[str]:
        step = self.chunk[0] if index else len(self.names)
        return list(self.names[index[0] * step : (index[0] + 1) * step] if len(self.names) > 1 else self.names)


class SealedStore(WrapperStore[icechunk.IcechunkStore]):
    """An Icechunk store whose metadata is sealed, and whose reads fail with one line that names the run.

    Parameters
    ----------
    store : icechunk.IcechunkStore
        The store of a session.
    place : str
        Its name in messages.
    seals : bool
        Whether metadata is sealed as it is written, and must be sealed when it is read. Stores of version 1 have no
        seals.
    """

    def __init__(self, store: icechunk.IcechunkStore, place: str, *, seals: bool = True) -> None:
        super().__init__(store)
        self.place = place
        self.seals = seals
        self._arrays: dict[str, _Array | None] = {}

    def _with_store(self, store: icechunk.IcechunkStore) -> Self:
        return type(self)(store, self.place, seals=self.seals)

    def with_read_only(self, read_only: bool = False) -> Self:
        """The same store, for reading alone or for writing too."""
        # Zarr's own wrapper has this since 3.1.6 only.
        store = self._store.with_read_only(read_only)
        assert isinstance(store, icechunk.IcechunkStore)
        return self._with_store(store)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read a value, and check it.

        Raises
        ------
        NotReadable
            If it is damaged, missing or out of reach.
        """
        path, _, name = key.rpartition("/")
        if name == _METADATA:
            with reading(self._label(path)):
                value = await self._store.get(key, prototype)
            if value is None:
                return None
            return prototype.buffer.from_bytes(json.dumps(self._unseal(path, value.to_bytes())).encode())
        match = _CHUNK.fullmatch(key)
        if match is None:
            with reading(self._label(key)):
                return await self._store.get(key, prototype, byte_range)
        return await self._get_chunk(match["array"], match["index"], key, prototype)

    async def describe(self, paths: Sequence[str]) -> dict[str, dict[str, Any] | NotReadable]:
        """Return the metadata at many paths in one request, or the error of reading it; omit paths without any."""
        prototype = default_buffer_prototype()
        values: list[Buffer | None] = [None] * len(paths)
        with suppress(Exception):
            # Raises if it cannot read one of them; then each is read alone.
            keys = [(f"{path}/{_METADATA}", None) for path in paths]
            values = await self._store.get_partial_values(prototype, keys)
        documents: dict[str, dict[str, Any] | NotReadable] = {}
        for path, value in zip(paths, values, strict=True):
            try:
                if value is None:
                    with reading(self._label(path)):
                        value = await self._store.get(f"{path}/{_METADATA}", prototype)
                if value is not None:
                    documents[path] = self._unseal(path, value.to_bytes())
            except NotReadable as error:
                documents[path] = error
        return documents

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value; metadata is sealed."""
        await self._store.set(key, self._seal(key, value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a value where there is none; metadata is sealed."""
        await self._store.set_if_not_exists(key, self._seal(key, value))

    async def _set_many(self, values: Iterable[tuple[str, Buffer]]) -> None:
        await asyncio.gather(*(self.set(key, value) for key, value in values))

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)

    async def delete(self, key: str) -> None:
        """Delete a value."""
        self._forget(key.removesuffix(_METADATA).rstrip("/"))
        await self._store.delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete all below a prefix."""
        self._forget(prefix.rstrip("/"))
        await self._store.delete_dir(prefix)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:  # type: ignore[override]
        """Iterate over the names directly below a prefix."""
        with reading(self._label(prefix)):
            async for name in self._store.list_dir(prefix):
                yield name

    async def _get_chunk(self, array: str, index: str, key: str, prototype: BufferPrototype) -> Buffer | None:
        if array not in self._arrays:
            await self.get(f"{array}/{_METADATA}", default_buffer_prototype())
        layout = self._arrays.get(array)
        place = tuple(map(int, index.split("/")[1:]))
        what = self._label(array.rpartition("/")[0], layout.names_in(place) if layout else [array.rpartition("/")[2]])
        with reading(what):
            value = await self._store.get(key, prototype)
        if layout is None:
            return value
        if value is None:
            if self.seals and layout.holds(place):
                raise NotReadable(f"{what} cannot be read: a chunk is missing")
        elif layout.has_checksum and not _is_whole(value.to_bytes()):
            raise NotReadable(f"{what} cannot be read: its checksum says that it is damaged")
        return value

    def _unseal(self, path: str, raw: bytes) -> dict[str, Any]:
        """Check the seal of a path's metadata, and return the metadata without it."""
        with reading(self._label(path)):
            document: dict[str, Any] = json.loads(raw)
            seal = document.get("attributes", {}).pop(SEAL, None)
        if (self.seals or seal is not None) and seal != _digest(path, document):
            is_array = document.get("node_type") == "array"
            owner, _, name = path.rpartition("/")
            what = self._label(owner, [name]) if is_array else self._label(path)
            raise NotReadable(f"{what} cannot be read: the checksum of its description says that it is damaged")
        self._arrays.setdefault(path, _describe(path, document))
        return document

    def _seal(self, key: str, value: Buffer) -> Buffer:
        path, _, name = key.rpartition("/")
        if name != _METADATA:
            return value
        # The chunks of a new array are written later.
        self._arrays.setdefault(path, None)
        if not self.seals:
            return value
        document = json.loads(value.to_bytes())
        attributes = document.setdefault("attributes", {})
        attributes.pop(SEAL, None)
        attributes[SEAL] = _digest(path, document)
        return type(value).from_bytes(json.dumps(document).encode())

    def _forget(self, path: str) -> None:
        """Expect no chunks of a deleted path."""
        for known in [known for known in self._arrays if known == path or known.startswith(f"{path}/")]:
            self._arrays[known] = None

    def _label(self, run: str, names: list[str] | None = None) -> str:
        owner = f"the run {run!r} of {self.place}" if run else f"the store {self.place}"
        return f"{listed([repr(name) for name in names])} of {owner}" if names else owner


def _digest(path: str, document: dict[str, Any]) -> str:
    """Return a checksum of the path and of its metadata without the seal."""
    attributes = {key: value for key, value in document.get("attributes", {}).items() if key != SEAL}
    text = json.dumps([path, {**document, "attributes": attributes}], sort_keys=True)
    return xxhash.xxh3_64_hexdigest(text.encode())


def _is_whole(chunk: bytes) -> bool:
    body, checksum = chunk[:-_CRC_BYTES], chunk[-_CRC_BYTES:]
    return bool(google_crc32c.value(body).to_bytes(_CRC_BYTES, "little") == checksum)


def _describe(path: str, document: dict[str, Any]) -> _Array | None:
    if document.get("node_type") != "array":
        return None
    shape, chunk = document["shape"], document["chunk_grid"]["configuration"]["chunk_shape"]
    packed = document.get("attributes", {}).get(PACKED) or [[path.rpartition("/")[2]]]
    return _Array(
        tuple(item[0] for item in packed),
        tuple(chunk),
        tuple(math.ceil(size / step) for size, step in zip(shape, chunk, strict=True)),
        any(codec["name"] == "crc32c" for codec in document["codecs"]),
    )
