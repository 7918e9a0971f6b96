"""What `layerwise study` does: one study or all of them, from words to a table and a figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise.errors import InvalidData
from layerwise.runtime.distributed import is_secondary_process, process_group
from layerwise.runtime.progress import logger
from layerwise.studies.frame.catalogue import Study, find_study, group_of, list_groups, list_studies, scaled, title
from layerwise.studies.frame.claim import Claim, claims_table
from layerwise.studies.frame.outcome import Outcome
from layerwise.studies.frame.running import TIMES
from layerwise.studies.frame.settings import changed, from_toml, from_words

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["list_text", "run_all", "run_one"]


def list_text() -> str:
    """The studies, a line each: name and claim; and the groups of them."""
    names, groups = list_studies(), list_groups()
    width = max(map(len, [*names, *groups]))
    lines = [f"{name:<{width}}  {title(find_study(name))}" for name in names]
    lines += [f"{group:<{width}}  All of these: {', '.join(list_studies(group))}." for group in groups]
    return "\n".join(lines)


def run_one(
    name: str,
    scale: str,
    store: str,
    output: Path,
    say: Callable[[str], object],
    *,
    seeds: int | None = None,
    words: list[str] | None = None,
    config: Path | None = None,
) -> Outcome | None:
    """Run a study, or go on with it; print its claims, and write its figure to ``NAME.png`` in a folder.

    Parameters
    ----------
    name, scale : str
        Of the study and of its settings.
    store : str
        Where seeds and epochs are kept.
    output : Path
        The folder for the figure.
    say : callable
        Takes what is to be shown.
    seeds : int, optional
        How many, instead of what the settings say.
    words : list of str, optional
        Settings to change, ``key=value`` each; they go before those of `config`.
    config : Path, optional
        A TOML file of settings to change.

    Returns
    -------
    Outcome or None
        None in a process that only helped another.

    Raises
    ------
    UnknownName, InvalidData
        If there is no such study, scale or setting.
    """
    study = find_study(name)
    changes = {**(from_toml(config) if config else {}), **from_words(words or [])}
    if seeds is not None:
        changes["seeds"] = seeds
    settings = changed(scaled(study, scale), changes)
    with process_group():
        ds = _measure(study, settings, store)
        if is_secondary_process():
            return None
    return _show(study, ds, output, say)


def run_all(
    scale: str,
    store: str,
    output: Path,
    say: Callable[[str], object],
    *,
    group: str | None = None,
    seeds: int | None = None,
    words: list[str] | None = None,
    config: Path | None = None,
) -> None:
    """Run every study, or all of a group, and write a report of claims, figures and times into a folder; as `run_one`.

    The report, ``studies.md`` or ``GROUP.md``, is written anew after each study, and says which have not run yet.
    """
    from layerwise.studies.frame.report import report

    if words or config:
        raise InvalidData("settings are a study's own: --set and --config go with the name of one")
    figures = output / "images" / "studies"
    left, outcomes = list_studies(group), []
    while left:
        outcome = run_one(left.pop(0), scale, store, figures, say, seeds=seeds)
        if outcome is not None:
            outcomes.append(outcome)
            path = output / f"{group or 'studies'}.md"
            path.write_text(report(outcomes, scale, output, left, group or "all"), encoding="utf-8")
            say(f"wrote {path}")


def _measure(study: Study, settings: Any, store: str) -> xr.Dataset:
    from layerwise.store import open_store

    return study.run(settings, open_store(store))


def _show(study: Study, ds: xr.Dataset, output: Path, say: Callable[[str], object]) -> Outcome:
    import matplotlib.pyplot as plt

    name = study.__name__.rpartition(".")[2]
    claims = study.claims(ds)
    say(f"\n{name}: {title(study)}\n{_text(claims)}")
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{name}.png"
    figure = study.figure(ds)
    figure.savefig(path, dpi=200, bbox_inches="tight")
    plt.close(figure)
    logger.info(f"wrote {path}")
    wall, processor = (float(ds[key].sum(skipna=False)) if key in ds else float("nan") for key in TIMES)
    doc, seeds = (study.__doc__ or "").strip(), ds.sizes["seed"]
    threads = tuple(sorted({int(value) for value in ds["threads"].values})) if "threads" in ds else ()
    return Outcome(name, doc, tuple(claims), wall, processor, threads, seeds, path, group_of(study))


def _text(claims: list[Claim]) -> str:
    rows = claims_table(claims)
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    lines = [{key: key for key in widths}, *rows]
    return "\n".join("  ".join(f"{row[key]:<{width}}" for key, width in widths.items()).rstrip() for row in lines)
