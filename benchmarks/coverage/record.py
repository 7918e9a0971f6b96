"""What was seen of one architecture, and the file that keeps it."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Record", "add", "finding", "load"]

_FINDING = Path(__file__).parents[2] / "layerwise" / "network" / "graph"


@functools.cache
def finding() -> str:
    """Return a hash of the code that finds blocks, as it stands."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_FINDING.glob("*.py")))).hexdigest()[:12]


@dataclass
class Record:
    """One architecture.

    Attributes
    ----------
    zoo, name, family : str
        Where it is from, what it is called there, and what it is a kind of.
    state : str
        How far it came: ``found``, ``alike``, ``not made``, ``not run``, or ``faulty`` where examining it failed.
    structure : str
        What those that differ in size alone have in common.
    like : str
        The architecture of the same structure whose layers were found, where it is ``alike``.
    error : str
        What ended it, where it did not come to the end.
    layers : int
        How many layers were found.
    faults : list of str
        What is wrong with them.
    finding : str
        What found them (`finding`); nothing of records that are older than that.
    """

    zoo: str
    name: str
    family: str
    state: str = "found"
    structure: str = ""
    like: str = ""
    error: str = ""
    layers: int = 0
    faults: list[str] = field(default_factory=list)
    finding: str = ""

    @property
    def right(self) -> bool:
        """Whether the layers were found and nothing is wrong with them."""
        return self.state == "found" and not self.faults

    def failed(self, state: str, error: BaseException) -> Record:
        """The same, ended by an error."""
        # Where packages are installed is no matter of the model.
        line = re.sub(r"/\S*site-packages/", "", " ".join(str(error).split()))[:160]
        self.state, self.error = state, f"{type(error).__name__}: {line}"
        return self


def load(path: Path) -> dict[tuple[str, str], Record]:
    """What a file has, by zoo and name; the last line of each counts."""
    lines = path.read_text().splitlines() if path.exists() else []
    records = [Record(**json.loads(line)) for line in lines if line.endswith("}")]
    return {(record.zoo, record.name): record for record in records}


def add(path: Path, records: Iterable[Record]) -> None:
    """Add records to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(asdict(record)) + "\n" for record in records)
