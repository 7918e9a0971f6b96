"""Folders of images, a subfolder a class, through torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import default_loader

from layerwise.data.digest import digest, digest_path, existing
from layerwise.data.names import Request
from layerwise.data.source import Reading
from layerwise.errors import InvalidData

__all__ = ["Pictures", "read_image_folder"]

_SPLITS = ("train", "test", "val", "validation")


class Pictures:
    """Image files, opened in RGB when asked for."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.paths = list(map(str, paths))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        try:
            return default_loader(self.paths[index])
        except OSError as error:
            raise InvalidData(f"{self.paths[index]!r} cannot be read as an image: {error}") from error


def read_image_folder(request: Request) -> Reading:
    """Read `DIR/CLASS/*.jpg`, or the splits `DIR/train/CLASS/*.jpg`, `DIR/test/...`, `val`, `validation`."""
    root = existing(request.path, "folder")
    # A class may be called "train"; but a class folder holds images, where a split's folder holds folders.
    folders = {name: root / name for name in _SPLITS if _has_folders(root / name)} or {"train": root}
    splits = {}
    for name in request.choose(folders):
        folder = folders[name]
        if not _has_folders(folder):
            raise InvalidData(f"{str(folder)!r} has no subfolders; images lie in one subfolder a class")
        images = ImageFolder(folder, allow_empty=True)
        if not images.samples:
            raise InvalidData(f"no subfolder of {str(folder)!r} has an image: {', '.join(images.classes[:8])}")
        classes = np.array(images.classes)[images.targets]
        splits[name] = (Pictures([path for path, _ in images.samples]), classes)
    return Reading("image", splits, digest(*(part for name in splits for part in (name, digest_path(folders[name])))))


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and any(item.is_dir() for item in folder.iterdir())
