"""Small files and folders to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_images(root: Path, classes: dict[str, int], size: tuple[int, int] = (6, 4)) -> Path:
    """Grey PNGs in a folder a class; the brightness of an image is its number."""
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", size, number).save(root / name / f"{number}.png")
    return root


def write_csv(path: Path, rows: list[tuple[Any, ...]], header: str = "text,label,source") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def reviews(count: int = 20) -> list[tuple[Any, ...]]:
    return [(f"review {row}", ("bad", "good")[row % 2], ("short", "long")[row // 10]) for row in range(count)]


def write_npz(path: Path, count: int = 12, **more: np.ndarray) -> Path:
    images = np.arange(count * 4 * 4 * 3, dtype=np.uint8).reshape(count, 4, 4, 3)
    np.savez(path, x_train=images, y_train=np.arange(count) % 3, x_test=images[:3], y_test=np.arange(3), **more)
    return path
