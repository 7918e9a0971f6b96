"""The command line: words on it to one call below."""

from layerwise.cli.app import main

__all__ = ["main"]
