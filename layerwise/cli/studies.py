"""The commands that bring networks and data of their own: the demonstration and the studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from layerwise.cli.output import echo

__all__ = ["demo", "study"]


def demo(
    folder: Annotated[Path, typer.Option(help="Where the store and the pictures go.")] = Path("layerwise-demo"),
) -> None:
    """See where two real networks collapse: a pretrained text transformer, and a small network in training."""
    from layerwise.cli.demo import run_demo

    run_demo(folder, echo)


def study(
    name: Annotated[str | None, typer.Argument(help="A study or a group of them, as --list shows it, or all.")] = None,
    scale: Annotated[str, typer.Option(help="quick, default or full (the paper's own, for a GPU).")] = "default",
    seeds: Annotated[int | None, typer.Option(min=1, help="How many; five by default.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as recipe.epochs=20; repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    store: Annotated[str, typer.Option(help="Where finished seeds and epochs are stored, to resume.")] = "studies.lw",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the figure; with several studies also of the report."),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the studies.")] = False,
) -> None:
    """Run a published claim: measure it over seeds, judge it against its bound, and draw it."""
    from layerwise.studies.frame.catalogue import is_group
    from layerwise.studies.frame.command import list_text, run_all, run_one

    if show or name is None:
        echo(list_text())
        return
    changes: dict[str, Any] = {"seeds": seeds, "words": settings, "config": config}
    if name == "all":
        run_all(scale, store, output or Path("docs"), echo, **changes)
    elif is_group(name):
        run_all(scale, store, output or Path(), echo, group=name, **changes)
    else:
        run_one(name, scale, store, output or Path(), echo, **changes)
