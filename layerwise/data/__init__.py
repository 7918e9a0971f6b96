"""Data that is read by name: `imagefolder:photos/`, `csv:reviews.csv?text=body&label=stars`, `sklearn:digits`."""

from layerwise.data.loading import loaders, stack_arrays
from layerwise.data.names import SCHEMES
from layerwise.data.reading import read
from layerwise.data.source import Rows, Source
from layerwise.data.texts import next_tokens

__all__ = ["SCHEMES", "Rows", "Source", "loaders", "next_tokens", "read", "stack_arrays"]
