"""What commands print: lines that cannot control the terminal, and JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import typer

from layerwise.errors import escaped

__all__ = ["echo", "escaped_lines", "to_json"]


def echo(text: str, *, err: bool = False) -> None:
    """Print lines; characters that would control the terminal are spelled out."""
    typer.echo(escaped_lines(text), err=err)


def escaped_lines(text: str) -> str:
    """Spell out the characters of every line that would control the terminal."""
    return "\n".join(map(escaped, text.split("\n")))


def to_json(value: Any) -> str:
    """Return JSON that other languages read: NaN and infinity become null."""
    return json.dumps(_finite(value), indent=2)


def _finite(item: Any) -> Any:
    """Replace numbers that are not finite with None, and numpy's numbers with Python's."""
    if isinstance(item, dict):
        return {key: _finite(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_finite(value) for value in item]
    item = item.item() if hasattr(item, "item") else item
    return None if isinstance(item, float) and not math.isfinite(item) else item
