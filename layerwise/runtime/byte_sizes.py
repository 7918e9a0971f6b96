"""Numbers of bytes as text."""

from __future__ import annotations

from layerwise.errors import InvalidData, shown

__all__ = ["parse_memory", "readable"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_memory(value: str | int | None) -> int | None:
    """Convert ``"8GiB"``, ``"500M"`` or a number to bytes.

    Raises
    ------
    InvalidData
        If the value is none of these, or not above 0.

    Examples
    --------
    >>> parse_memory("2GiB")
    2147483648
    """
    if value is None:
        return None
    text = str(value).strip().upper().removesuffix("B").removesuffix("I")
    number, unit = (text[:-1], text[-1]) if text and text[-1] in _UNITS else (text, "")
    try:
        count = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        count = 0
    if count <= 0:
        raise InvalidData(f"a memory budget is written like '8GiB' or '500MiB', not {shown(value)}")
    return count


def readable(count: int) -> str:
    """Return a number of bytes in the largest unit of which there is at least one.

    Examples
    --------
    >>> readable(3_500_000_000)
    '3.3 GiB'
    """
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
