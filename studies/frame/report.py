"""The report of all studies, as Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from layerwise.studies.frame.claim import claims_table
from layerwise.studies.frame.outcome import Outcome
from layerwise.studies.frame.running import TIMES

__all__ = ["report"]


def report(outcomes: Sequence[Outcome], scale: str, folder: Path, left: Sequence[str] = (), name: str = "all") -> str:
    """Every study with its claims, measured values, figure, and the time it took; of a group also what all took.

    Parameters
    ----------
    outcomes : sequence of Outcome
    scale : str
        At which they ran.
    folder : Path
        Where the report goes, so that it finds its figures.
    left : sequence of str
        Names of the studies that have not run yet.
    name : str
        What the command was called with.

    Returns
    -------
    str
        Markdown.
    """
    all_claims = [item for outcome in outcomes for item in outcome.judged]
    held = sum(item.held for item in all_claims)
    lines = [
        "# Studies",
        "",
        f"Written by `layerwise study {name} --scale {scale}`. Measured values are mean ± standard deviation over "
        "seeds; a claim is held when it held for every seed. Bounds are the papers' where they give one, and were "
        "there before these runs; how networks are trained was settled on pilot runs. Times are of a clock on the "
        "wall, on a machine that others may use, and of the processor. Controls take the cause away: there the effect "
        "has to be gone. What stands without a bound is a measurement, and is not counted. A seed gives the same "
        "numbers again on the same machine with as many threads (`OMP_NUM_THREADS`); with another number of them sums "
        "are rounded otherwise, and a training takes another way.",
        "",
        f"{held} of {len(all_claims)} claims held." + (f" Not run yet: {', '.join(left)}." if left else ""),
        "",
        "| study | claims held | seeds | threads | time | processor time |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for outcome in outcomes:
        held_here = f"{sum(item.held for item in outcome.judged)} of {len(outcome.judged)}"
        times = f"{_time(outcome.seconds)} | {_time(outcome.processor_seconds)}"
        threads = ", ".join(map(str, outcome.threads)) or "-"
        lines.append(f"| [{outcome.name}](#{outcome.name}) | {held_here} | {outcome.seeds} | {threads} | {times} |")
    for group in sorted({outcome.group for outcome in outcomes if outcome.group}):
        own = [outcome for outcome in outcomes if outcome.group == group]
        wall, processor = (_time(sum(getattr(outcome, name) for outcome in own)) for name in TIMES)
        lines += ["", f"All studies of the group `{group}` together took {wall}, and {processor} of the processor."]
    for outcome in outcomes:
        lines += ["", f"## {outcome.name}", "", outcome.doc, "", *_table(outcome), ""]
        lines.append(f"![{outcome.name}]({Path(os.path.relpath(outcome.figure, folder)).as_posix()})")
    return "\n".join(lines) + "\n"


def _table(outcome: Outcome) -> list[str]:
    rows = claims_table(outcome.claims)
    lines = [f"| {' | '.join(rows[0])} |", f"|{' --- |' * len(rows[0])}"]
    return lines + [f"| {' | '.join(value.replace('|', chr(92) + '|') for value in row.values())} |" for row in rows]


def _time(seconds: float) -> str:
    if seconds != seconds:
        return "-"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
