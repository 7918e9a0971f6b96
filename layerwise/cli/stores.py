"""The commands on the runs of a store: list, draw, compare, export and import them, and compact the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layerwise.cli.options import Json, Overwrite, Picture, Run, Split, StorePath
from layerwise.cli.output import echo, to_json
from layerwise.errors import LayerwiseError, escaped

if TYPE_CHECKING:
    from layerwise.store import Store

__all__ = ["compact", "compare", "export", "import_", "ls", "plot"]


def plot(
    store: StorePath,
    run: Run,
    metric: Annotated[
        list[str] | None, typer.Argument(help="Metrics; several are rows of a depth heatmap, else panels.")
    ] = None,
    kind: Annotated[str, typer.Option(help="depth, epoch, curve, class or phase.")] = "depth",
    split: Split = None,
    output: Picture = None,
) -> None:
    """Draw a run: a depth heatmap, an epoch heatmap, curves over depth, or classes by layer."""
    from layerwise.cli.pictures import draw

    path = output or Path(f"{run.replace('/', '-')}-{kind}.png")
    draw(store, run, list(metric or ()), kind=kind, split=split, path=path)
    echo(f"wrote {path}")


def compare(
    store: StorePath,
    first: Run,
    second: Annotated[str, typer.Argument(help="Name of the run that the first is subtracted from.")],
    metric: Annotated[list[str] | None, typer.Argument(help="Metrics; nc1 and two errors by default.")] = None,
    split: Annotated[str | None, typer.Option(help="All that both have by default; the picture shows train.")] = None,
    strict: Annotated[
        bool, typer.Option(help="Refuse runs that differ in pooling, data, splits, preprocessing or settings.")
    ] = False,
    output: Picture = None,
) -> None:
    """Compare the last epochs of two runs, layer by layer: tables, and a picture of both and their difference."""
    from layerwise.cli.pictures import compare_runs

    path = output or Path(f"{first}-{second}-compare.png".replace("/", "-"))
    echo(compare_runs(store, first, second, list(metric or ()), split=split, strict=strict, path=path))
    echo(f"wrote {path}")


def ls(
    store: StorePath,
    check: Annotated[bool, typer.Option("--check", help="Read every value, to find runs that are damaged.")] = False,
    json: Json = False,
) -> None:
    """List the runs of a store; a damaged one is a line on stderr, and the exit code is then 1."""
    from layerwise.store import open_store

    rows, errors = _contents(open_store(store, create=False), check)
    if json:
        echo(to_json([*rows, *({"run": name, "error": str(error)} for name, error in errors.items())]))
    else:
        for row in rows:
            splits = ", ".join(row["splits"])
            name = escaped(row["run"])
            echo(f"{name}: {row['epochs']} epochs, {row['layers']} layers, splits {splits}; {row['model']}")
    for error in errors.values():
        echo(f"damaged: {error}", err=True)
    if errors:
        raise typer.Exit(1)


def _contents(store: Store, check: bool) -> tuple[list[dict[str, Any]], dict[str, LayerwiseError]]:
    """Return a row for every run, and the errors of the damaged runs by name; values are read if `check`."""
    rows: list[dict[str, Any]] = []
    errors: dict[str, LayerwiseError] = {}
    for name, contents in store.contents().items():
        if isinstance(contents, LayerwiseError):
            errors[name] = contents
        elif check and (damage := store.damage(name)):
            errors[name] = damage
        else:
            rows.append({"run": name, **contents})
    return rows, errors


def compact(
    store: StorePath,
    keep: Annotated[
        int,
        typer.Option(min=0, max=1_000_000, help="Hours for which replaced data stays; readers may have it open."),
    ] = 24,
) -> None:
    """Free the space of replaced data, and forget that part of the history; no run changes."""
    from datetime import timedelta

    from layerwise.store import open_store

    freed = open_store(store, create=False).compact(timedelta(hours=keep))
    echo(f"freed {freed / 1e6:.1f} MB in {store}")


def export(
    store: StorePath,
    run: Run,
    path: Annotated[Path, typer.Argument(help="File to write: .zarr, .nc, .parquet or .csv.")],
    overwrite: Overwrite = False,
) -> None:
    """Write a run to a plain file for other programs."""
    from layerwise.store import export as write
    from layerwise.store import open_store

    write(open_store(store, create=False)[run], path, overwrite=overwrite)
    echo(f"wrote {path}")


def import_(
    path: Annotated[Path, typer.Argument(help="A profile as .zarr or .nc.")],
    store: Annotated[str, typer.Argument(help="The store to write to; made where there is none.")],
    run: Annotated[
        str | None, typer.Option("--run", "-n", help="Its name in the store; that of the file by default.")
    ] = None,
) -> None:
    """Bring a profile in a plain file into a store."""
    from layerwise.store import import_profile
    from layerwise.store.open import new_or_open

    name = path.stem if run is None else run
    profile = import_profile(path)
    with new_or_open(store) as target:
        target.write(profile, run=name)
    echo(f"wrote run {name!r} to {store}")
