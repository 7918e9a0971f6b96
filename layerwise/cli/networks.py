"""The commands that look at networks, except `profile`: layers, similarity and rank; and the list of metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerwise.cli.options import (
    MODEL,
    BatchSize,
    Data,
    Device,
    Json,
    Layers,
    Memory,
    Model,
    Picture,
    Reduce,
    Split,
    Trust,
    one_or_list,
    preferred_device,
)
from layerwise.cli.output import echo, to_json

__all__ = ["layers", "metrics", "rank", "similarity"]


def layers(
    model: Model,
    layers: Layers = ["blocks"],  # noqa: B006
    reduce: Reduce = "auto",
    classes: Annotated[int, typer.Option(help="Number of classes to forecast for.")] = 10,
    samples: Annotated[int, typer.Option(help="Number of samples to forecast for.")] = 10_000,
    memory: Memory = None,
    trust_remote_code: Trust = False,
    json: Json = False,
) -> None:
    """List the layers of a network, their shapes, and what a profile would cost."""
    from layerwise.profiling.forecast import forecast

    cost = forecast(
        model,
        layers=one_or_list(layers),
        reduce=reduce,
        classes=classes,
        samples=samples,
        memory=memory,
        trust_remote_code=trust_remote_code,
    )
    echo(cost.json() if json else cost.text())


def similarity(
    model: Model,
    data: Data,
    other: Annotated[str | None, typer.Option(help="The network to compare with; the same by default.")] = None,
    layers: Layers = ["blocks"],  # noqa: B006
    reduce: Reduce = "auto",
    split: Split = None,
    device: Device = None,
    batch_size: BatchSize = 64,
    trust_remote_code: Trust = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture (.png, .pdf, .svg) or numbers (.nc).")] = Path(
        "similarity.png"
    ),
) -> None:
    """Compare all pairs of layers of a network, or of two, by linear CKA."""
    from layerwise.cli.pictures import draw_similarity
    from layerwise.profiling.similarity import similarity as measure

    ds = measure(
        model,
        data,
        other,
        split=split,
        device=preferred_device(device),
        batch_size=batch_size,
        layers=one_or_list(layers),
        reduce=reduce,
        trust_remote_code=trust_remote_code,
    )
    draw_similarity(ds, output)
    echo(f"wrote {output}")


def rank(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=MODEL)],
    data: Data,
    by: Annotated[str, typer.Option(help="probe_error, ncc_error, h_score or logme.")] = "probe_error",
    layers: Layers = ["blocks"],  # noqa: B006
    reduce: Reduce = "auto",
    target: Annotated[
        str | None, typer.Option(help="The labels, where there are several; the first by default.")
    ] = None,
    jackknife: Annotated[int, typer.Option(help="Groups of samples for standard errors; 0 for none.")] = 0,
    memory: Memory = None,
    device: Device = None,
    batch_size: BatchSize = 64,
    trust_remote_code: Trust = False,
    output: Picture = None,
    json: Json = False,
) -> None:
    """Rank pretrained networks, and the layers to cut them at, by how well they separate your classes."""
    from layerwise.cli.pictures import draw_ranking
    from layerwise.profiling.ranking import rank as measure

    ranking = measure(
        models,
        data,
        by=by,
        target=target,
        device=preferred_device(device),
        batch_size=batch_size,
        layers=one_or_list(layers),
        reduce=reduce,
        jackknife=jackknife,
        memory=memory,
        trust_remote_code=trust_remote_code,
    )
    rows = ranking.frame.to_dict("records")
    echo(to_json({"by": by, "split": ranking.held_out, "layers": rows}) if json else ranking.text())
    if output is not None:
        draw_ranking(ranking, output)
        echo(f"wrote {output}", err=json)


def metrics(
    pattern: Annotated[str, typer.Argument(help="A name or a glob; all by default.")] = "*",
    json: Json = False,
) -> None:
    """List the metrics: what each measures, which way collapse is, its dims, the passes it takes, and its source."""
    from layerwise.cli.tables import metric_rows, metric_table

    echo(to_json(metric_rows(pattern)) if json else metric_table(pattern))
