"""What a study that ran found: its claims, what it took, and its picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from layerwise.studies.frame.claim import Claim

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """A study that ran.

    Attributes
    ----------
    name, doc : str
        Its name and docstring.
    claims : tuple of Claim
    seconds, processor_seconds : float
        What all its seeds took, those of earlier calls among them; NaN where that was not kept.
    threads : tuple of int
        Of torch, that the seeds ran with; empty where that was not kept.
    seeds : int
    figure : Path
        The picture that was written.
    group : str
        That it belongs to; empty where it stands alone.
    """

    name: str
    doc: str
    claims: tuple[Claim, ...]
    seconds: float
    processor_seconds: float
    threads: tuple[int, ...]
    seeds: int
    figure: Path
    group: str = ""

    @property
    def judged(self) -> tuple[Claim, ...]:
        """The claims that have a bound."""
        return tuple(item for item in self.claims if item.judged)
