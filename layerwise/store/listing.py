"""The runs of a store and their contents, without opening the runs: thousands of them in a moment."""

from __future__ import annotations

from typing import Any

from zarr.core.sync import sync

from layerwise.errors import LayerwiseError
from layerwise.store.failures import NotReadable
from layerwise.store.read import CONTENTS, SCHEMA, contents_of, find_group, open_run
from layerwise.store.sealed import SealedStore

__all__ = ["list_contents", "list_runs"]

#: The attributes of a run, or the error of reading them.
Attributes = dict[str, Any] | LayerwiseError


def list_runs(source: SealedStore, under: str = "") -> list[str]:
    """Return the names of the runs below a path, sorted, damaged runs included."""
    return sorted(_find(source, under))


def list_contents(source: SealedStore) -> dict[str, Attributes]:
    """Return the contents of every run (`contents_of`) by name, or the error of reading them."""
    runs = _find(source, "")
    return {run: _contents(source, run, runs[run]) for run in sorted(runs)}


def _contents(source: SealedStore, run: str, attributes: Attributes) -> Attributes:
    if isinstance(attributes, LayerwiseError):
        return attributes
    if CONTENTS in attributes:
        contents: dict[str, Any] = attributes[CONTENTS]
        return contents
    try:
        return contents_of(open_run(source, run))
    except LayerwiseError as error:
        return error


def _find(source: SealedStore, under: str) -> dict[str, Attributes]:
    if find_group(source, under) is None:
        return {}
    runs: dict[str, Attributes] = sync(_descend(source, under))
    return runs


async def _descend(source: SealedStore, path: str) -> dict[str, Attributes]:
    names = [name async for name in source.list_dir(path) if name != "zarr.json"]
    runs: dict[str, Attributes] = {}
    for child, document in (await source.describe([f"{path}/{name}".lstrip("/") for name in names])).items():
        if isinstance(document, NotReadable):
            runs[child] = document
        elif document["node_type"] == "group":
            is_run = SCHEMA in document["attributes"]
            runs |= {child: document["attributes"]} if is_run else await _descend(source, child)
    return runs
