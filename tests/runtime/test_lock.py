"""A folder is one process's at a time, and nothing is left of the lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from layerwise.errors import InUse, InvalidData
from layerwise.runtime.lock import FolderLock

HOLDER = """
import sys
from pathlib import Path
from layerwise.runtime.lock import FolderLock

lock = FolderLock(Path(sys.argv[1]), "process0")
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_lock_is_refused_until_release(tmp_path: Path) -> None:
    first, second = (FolderLock(tmp_path / "a" / "kept", "process0") for _ in range(2))
    first.acquire()
    with pytest.raises(InUse, match="another profile is being measured with .*kept"):
        second.acquire()
    FolderLock(tmp_path / "a" / "kept", "process1").acquire()
    first.release()
    second.acquire()


def test_release_removes_only_its_own_folders(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "a" / "b", "process0")
    lock.acquire()
    lock.release()
    assert not list(tmp_path.iterdir())
    lock.acquire()
    (tmp_path / "a" / "b" / "file").touch()
    lock.release()
    assert [item.name for item in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InvalidData, match="a is a file"):
        FolderLock(tmp_path / "a", "process0").acquire()


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "kept")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ})
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InUse):
        FolderLock(tmp_path / "kept", "process0").acquire()
    holder.kill()
    holder.communicate()
    lock = FolderLock(tmp_path / "kept", "process0")
    lock.acquire()
    lock.release()
