"""Profiles on disk: a store holds many runs, one run is one Dataset that grows along ``epoch``.

On disk it is Icechunk, that is, Zarr with transactions: a commit is all or nothing.
"""

from layerwise.store.export import export, import_profile
from layerwise.store.failures import NotReadable, NotWritable
from layerwise.store.open import open_store
from layerwise.store.runs import Store
from layerwise.store.write import EpochExists, InvalidRun

__all__ = ["EpochExists", "InvalidRun", "NotReadable", "NotWritable", "Store", "export", "import_profile", "open_store"]
