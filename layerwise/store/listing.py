"""Which runs there are, and what is in them, without opening them: thousands of them in a moment."""

from __future__ import annotations

from typing import Any

from zarr.core.sync import sync

from layerwise.errors import LayerwiseError
from layerwise.store.failures import NotReadable
from layerwise.store.read import CONTENTS, SCHEMA, contents_of, find_group, open_run
from layerwise.store.sealed import SealedStore

__all__ = ["list_contents", "list_runs"]

#: The attributes of a run, or why they cannot be read.
Found = dict[str, Any] | LayerwiseError


def list_runs(source: SealedStore, under: str = "") -> list[str]:
    """The names of the runs below a path, sorted; a damaged one is among them."""
    return sorted(_find(source, under))


def list_contents(source: SealedStore) -> dict[str, Found]:
    """By name what is in every run (`contents_of`), or why it cannot be read."""
    found = _find(source, "")
    return {run: _contents(source, run, found[run]) for run in sorted(found)}


def _contents(source: SealedStore, run: str, attributes: Found) -> Found:
    if isinstance(attributes, LayerwiseError):
        return attributes
    if CONTENTS in attributes:
        contents: dict[str, Any] = attributes[CONTENTS]
        return contents
    try:
        return contents_of(open_run(source, run))
    except LayerwiseError as error:
        return error


def _find(source: SealedStore, under: str) -> dict[str, Found]:
    if find_group(source, under) is None:
        return {}
    found: dict[str, Found] = sync(_descend(source, under))
    return found


async def _descend(source: SealedStore, path: str) -> dict[str, Found]:
    names = [name async for name in source.list_dir(path) if name != "zarr.json"]
    found: dict[str, Found] = {}
    for child, document in (await source.describe([f"{path}/{name}".lstrip("/") for name in names])).items():
        if isinstance(document, NotReadable):
            found[child] = document
        elif document["node_type"] == "group":
            is_run = SCHEMA in document["attributes"]
            found |= {child: document["attributes"]} if is_run else await _descend(source, child)
    return found
