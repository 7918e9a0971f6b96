"""Examine many architectures in a process of their own, which may hang or die without ending the run."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.coverage.record import Record

__all__ = ["examine_all"]

_ROOT = Path(__file__).parents[2]


def examine_all(zoo: str, names: Iterable[str], cache: Path, seconds: float) -> Iterator[Record]:
    """A record for each name; one that takes longer than so many seconds is ended.

    Parameters
    ----------
    zoo : {"timm", "transformers"}
    names : iterable of str
    cache : path
        Where records are kept.
    seconds : float
        The most that one may take.
    """
    process: subprocess.Popen[str] | None = None
    for name in names:
        if process is None:
            process = _worker(zoo, cache)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(name + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        line = process.stdout.readline() if ready else ""
        if line:
            yield Record(**json.loads(line))
            continue
        cause = f"its process ended with {process.wait()}" if ready else f"it took more than {seconds:.0f} s"
        process.kill()
        process = None
        yield Record(zoo, name, name.rpartition("/")[2], "not run", error=cause)
    if process is not None:
        process.communicate()


def _worker(zoo: str, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.coverage.worker", zoo, str(cache)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
