"""The files of an interrupted profile, in the part of a folder that belongs to this process."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from layerwise.errors import InvalidData
from layerwise.runtime.checksummed_files import Damaged, is_whole, read_sealed, seal_of, write_sealed
from layerwise.runtime.distributed import is_secondary_process, rank_and_world_size

__all__ = ["StateFiles"]

_HEADER = "profile.json"
_FORMS = ("profile.json*", "*.pt", "*.draft", "* features")


class StateFiles:
    """Writes and reads the states of passes; a header names those that count, with their checksums.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seals: dict[str, Any] = {}

    @property
    def part(self) -> Path:
        """The folder of this process; the number of processes may be settled after the folder is chosen."""
        return self.folder / f"process{rank_and_world_size()[0]}"

    def features_of(self, split: str) -> Path:
        """Return the folder for the features of a split."""
        return self.part / quote(f"{split} features", safe=" ")

    def read_header(self, identity: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """Return the header of a profile with this identity, if there is one; or why it is of no use.

        Raises
        ------
        InvalidData
            If the folder has files that no profile wrote.
        """
        header = self.part / _HEADER
        if self.part.is_dir():
            self._refuse_foreign_files()
        if not header.exists():
            return None, ""
        try:
            content: dict[str, Any] = read_sealed(header)
        except Damaged as error:
            return None, str(error)
        saved = content["identity"]
        differing = sorted(key for key in identity if saved.get(key) != identity[key])
        if differing:
            return None, f"what is in {self.folder} is of another profile ({', '.join(differing)})"
        damaged = [seal["file"] for seal in content["files"].values() if not is_whole(self.part, seal)]
        return (None, f"{self.part / damaged[0]} is damaged, cut short or gone") if damaged else (content, "")

    def save(self, name: str, content: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        """Write the state of a pass; it counts once the header is written.

        Raises
        ------
        OSError, RuntimeError
            If it cannot be written.
        """
        old = self.seals.get(name)
        # The last state counts until the header names this one, so that it is not overwritten.
        file = self.part / f"{quote(name, safe=' ')}.{0 if old is None or old['file'].endswith('.1.pt') else 1}.pt"
        self.part.mkdir(parents=True, exist_ok=True)
        torch.save(dict(content), file)
        seals = {**self.seals, name: seal_of(file)}
        write_sealed(self.part / _HEADER, {**header, "files": seals})
        self.seals = seals
        if old is not None:
            (self.part / old["file"]).unlink(missing_ok=True)

    def load(self, name: str) -> dict[str, Any] | None:
        """Return the state of a pass, if there is one."""
        if name not in self.seals:
            return None
        file = self.part / self.seals[name]["file"]
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        return content

    def clear(self) -> None:
        """Remove the files of this process."""
        shutil.rmtree(self.part, ignore_errors=True)
        self.seals = {}

    def remove(self) -> None:
        """Remove the files of this process, the parts of processes that no longer exist, and the empty folder."""
        self.clear()
        if not is_secondary_process():
            for part in self.folder.glob("process*"):
                number = part.name.removeprefix("process").removesuffix(".lock")
                if number.isdigit() and int(number) >= rank_and_world_size()[1]:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()
        # The folder stays while it is locked, and while another process is not that far.
        with suppress(OSError):
            self.folder.rmdir()

    def _refuse_foreign_files(self) -> None:
        foreign = [item.name for item in self.part.iterdir() if not any(item.match(form) for form in _FORMS)]
        if foreign:
            raise InvalidData(
                f"{self.part} holds {foreign[0]!r}, which no profile wrote, and would be emptied; give another folder"
            )
