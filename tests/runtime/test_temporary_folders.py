"""Folders that last as long as their process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from layerwise.runtime.temporary_folders import Scratch

HOLDER = """
import sys
from pathlib import Path
from layerwise.runtime.temporary_folders import Scratch

with Scratch(Path(sys.argv[1]), "made-") as folder:
    (folder / "file").touch()
    print("made", flush=True)
    sys.stdin.read()
"""


def _hold(parent: Path) -> subprocess.Popen[str]:
    """A process that has a folder."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "made\n"
    return holder


def test_the_folder_is_removed_at_the_end_and_after_an_exception(tmp_path: Path) -> None:
    try:
        with Scratch(tmp_path / "deep", "made-") as folder:
            (folder / "file").touch()
            assert folder.parent == tmp_path / "deep"
            raise RuntimeError
    except RuntimeError:
        assert list((tmp_path / "deep").iterdir()) == []


def test_folders_of_killed_processes_alone_are_removed(tmp_path: Path) -> None:
    (tmp_path / "made-by-another").mkdir()
    killed, living = _hold(tmp_path), _hold(tmp_path)
    killed.kill()
    killed.communicate()
    assert len([item for item in tmp_path.iterdir() if item.is_dir()]) == 3
    with Scratch(tmp_path, "made-") as own:
        folders = {item for item in tmp_path.iterdir() if item.is_dir()}
    assert len(folders - {own}) == 2
    assert sum((folder / "file").exists() for folder in folders) == 1
    living.communicate()
    assert [item.name for item in tmp_path.iterdir()] == ["made-by-another"]


def test_a_prefix_is_no_pattern(tmp_path: Path) -> None:
    killed = _hold(tmp_path)
    killed.kill()
    killed.communicate()
    with Scratch(tmp_path, "[a-z]*"):
        pass
    assert len([item for item in tmp_path.iterdir() if item.is_dir()]) == 1
