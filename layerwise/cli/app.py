"""The command line: words to one call below."""

from __future__ import annotations

import itertools
import logging
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from layerwise import __version__
from layerwise.errors import InvalidArgument, InvalidData, LayerwiseError, escaped

__all__ = ["app", "main"]

app = typer.Typer(
    name="layerwise",
    help="Where in the network does the representation collapse? Neural collapse, layer by layer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_MODEL = "timm/NAME, hf/NAME (hub id or local folder) or package.module:function"
_DATA = "imagefolder:DIR, csv:FILE?text=..&label=.., parquet:FILE, npz:FILE, hf:NAME or sklearn:digits"
_CHECKPOINTS = (
    'Such as "runs/seed0/checkpoint-*": weights for MODEL, one epoch of the run each; those that the store has are '
    "skipped."
)

# Without the dashes torchrun reads --run first, and on Python 3.11 takes it for the start of an option of its own.
_NAME = (
    "Its name in the store; made of model and data by default. Under torchrun write `-m layerwise -- profile`, or "
    "--name for --run."
)

Model = Annotated[str, typer.Argument(help=_MODEL)]
StorePath = Annotated[str, typer.Argument(help="A store that layerwise wrote.")]
Run = Annotated[str, typer.Argument(help="Name of a run, as `layerwise ls` shows it.")]
Layers = Annotated[
    list[str], typer.Option("--layers", help="blocks, stages, leaves, all, a name or a glob; repeatable.")
]
Reduce = Annotated[str, typer.Option(help="auto, gap, grid:k, cls, mean, max, last, eos, flatten or sketch:k.")]
Memory = Annotated[str | None, typer.Option(help="Budget of the statistics, such as 8GiB; half of what is free.")]
Device = Annotated[str | None, typer.Option(help="Such as cpu or cuda:0; an accelerator where there is one.")]
Trust = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run Python code that comes with MODEL; it can do whatever you can."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


def main() -> None:
    """Run the command line; a mistake of the caller's is one line and exit code 2."""
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(_Escaping("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[told])
    logging.getLogger("layerwise").setLevel(logging.INFO)
    warnings.showwarning = lambda message, *_: _echo(f"warning: {message}", err=True)
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        _echo("stopped", err=True)
        sys.exit(1)
    except Exception as error:
        mistake = error if isinstance(error, LayerwiseError) else _mistyped(error)
        if mistake is None:
            raise
        if str(mistake):
            _echo(f"error: {mistake}", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"layerwise {__version__}")
        raise typer.Exit()


class _Escaping(logging.Formatter):
    """Spells out the characters of data that would control the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return _escaped_lines(super().format(record))


def _mistyped(error: Exception) -> LayerwiseError | None:
    """What a command line that cannot be read lacks, as an error of ours; None for any other error."""
    # Typer brings its parser along, whose errors have no public name; after no words at all it has shown the help.
    message = getattr(error, "format_message", None)
    return None if message is None else InvalidArgument(str(message()))


def _echo(text: str, *, err: bool = False) -> None:
    """Print lines, without what in them would control the terminal."""
    typer.echo(_escaped_lines(text), err=err)


def _escaped_lines(text: str) -> str:
    return "\n".join(map(escaped, text.split("\n")))


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


@app.command()
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

    found = forecast(
        model,
        layers=_one(layers),
        reduce=reduce,
        classes=classes,
        samples=samples,
        memory=memory,
        trust_remote_code=trust_remote_code,
    )
    _echo(found.json() if json else found.text())


@app.command()
def profile(
    model: Model,
    data: Annotated[str, typer.Argument(help=_DATA)],
    layers: Layers = ["blocks"],  # noqa: B006
    reduce: Reduce = "auto",
    metrics: Annotated[list[str] | None, typer.Option(help="Names or globs; all by default; repeatable.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes, where the data does not say.")] = None,
    convention: Annotated[str, typer.Option(help="default, papyan, he_su, he_su_imbalanced or ibrahim.")] = "default",
    debiased: Annotated[
        bool, typer.Option(help="Correct nc1, nc1_trace, cdnv, vci and h_score for what few samples do to them.")
    ] = False,
    frame: Annotated[str | None, typer.Option(help="Measure frame_distance from it: etf or orthogonal.")] = None,
    standardize: Annotated[
        bool, typer.Option(help="Count regression targets in units of their standard deviations.")
    ] = False,
    memory: Memory = None,
    device: Device = None,
    batch_size: Annotated[int, typer.Option()] = 64,
    directions: Annotated[str, typer.Option(help="Random directions for geometric complexity, or exact.")] = "8",
    jackknife: Annotated[
        int, typer.Option(help="Groups of samples for standard errors and intervals; 0 for none, 10 are usual.")
    ] = 0,
    null: Annotated[
        int,
        typer.Option(help="Shuffles of labels for what chance gives; 0 for none, 39 for a 95% band."),
    ] = 0,
    check: Annotated[
        bool, typer.Option(help="Run a few samples again beforehand: features must not depend on their company.")
    ] = True,
    drop_nonfinite: Annotated[
        bool, typer.Option(help="Leave out samples with NaN or infinity, in a layer or a target.")
    ] = False,
    store: Annotated[str, typer.Option(help="Where the profile is kept; a folder, s3:// or gs://.")] = "profiles.lw",
    run: Annotated[str | None, typer.Option("--run", "--name", "-n", help=_NAME)] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a profile of the same name.")] = False,
    resume_dir: Annotated[
        Path | None,
        typer.Option(help="Where a long profile keeps what it has, to go on if it is killed; beside the store."),
    ] = None,
    checkpoints: Annotated[str | None, typer.Option(help=_CHECKPOINTS)] = None,
    base: Annotated[bool, typer.Option("--base", help="With --checkpoints: MODEL as it is given is epoch 0.")] = False,
    trust_remote_code: Trust = False,
    json: Json = False,
) -> None:
    """Measure how far every layer of a network has collapsed on your data: the main job."""
    from layerwise.passes.resume import ResumeState, resume_folder
    from layerwise.profiling.profiler import profile as measure
    from layerwise.runtime.distributed import is_secondary_process, process_group
    from layerwise.store.open import new_or_open
    from layerwise.store.write import check_name
    from layerwise.training.checkpoint_series import profile_checkpoints

    name = _run_name(model if checkpoints is None else _fixed_part(checkpoints), data) if run is None else run
    check_name(name)
    with ExitStack() as stack:
        own_device = stack.enter_context(process_group())
        target = None if is_secondary_process() else stack.enter_context(new_or_open(store))
        kept = stack.enter_context(ResumeState(resume_dir or resume_folder(store, name)))
        options: dict[str, Any] = {
            "device": own_device or _accelerator() if device is None else device,
            "batch_size": batch_size,
            "layers": _one(layers),
            "reduce": reduce,
            "metrics": metrics or None,
            "classes": classes,
            "convention": convention,
            "debiased": debiased,
            "frame": frame,
            "standardize": standardize,
            "memory": memory,
            "directions": int(directions)
            if directions.isascii() and directions.isdecimal() and len(directions) < 10
            else directions,
            "jackknife": jackknife,
            "null": null,
            "check": check,
            "trust_remote_code": trust_remote_code,
            "nonfinite": "drop" if drop_nonfinite else "raise",
            "resume_dir": kept,
        }
        if checkpoints is not None and own_device:
            raise InvalidData("checkpoints are profiled by one process: leave torchrun away")
        if base and checkpoints is None:
            raise InvalidData("--base is the network before the training that --checkpoints are of, and there are none")
        if checkpoints is not None:
            options |= {"store": target, "run": name, "overwrite": overwrite, "base": base}
            ds = profile_checkpoints(model, data, checkpoints, **options)
        else:
            if target is not None:
                target.check(name)
                if name in target and not overwrite:
                    raise InvalidData(
                        f"{store} has a run {name!r} already; choose another with --run, or --overwrite it"
                    )
            ds = measure(model, data, **options)
        if target is not None and checkpoints is None:
            (target.replace if overwrite else target.write)(ds, run=name)
        kept.remove()
    if target is None:
        return
    _print(ds, json)
    epochs = f"{ds.sizes['epoch']} epochs are in" if checkpoints else "wrote"
    _echo(f"{epochs} run {name!r} {'of' if checkpoints else 'to'} {store}", err=True)


@app.command()
def plot(
    store: StorePath,
    run: Run,
    metric: Annotated[list[str] | None, typer.Argument(help="Metrics; several for a depth heatmap only.")] = None,
    kind: Annotated[str, typer.Option(help="depth, epoch, curve, class or phase.")] = "depth",
    split: Annotated[str | None, typer.Option()] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Picture to write; .png, .pdf or .svg.")] = None,
) -> None:
    """Draw a run: a depth heatmap, an epoch heatmap, curves over depth, or classes by layer."""
    from layerwise.cli.pictures import draw

    path = output or Path(f"{run.replace('/', '-')}-{kind}.png")
    draw(store, run, list(metric or ()), kind=kind, split=split, path=path)
    _echo(f"wrote {path}")


@app.command()
def compare(
    store: StorePath,
    first: Run,
    second: Annotated[str, typer.Argument(help="Name of the run that the first is subtracted from.")],
    metric: Annotated[list[str] | None, typer.Argument(help="Metrics; nc1 and two errors by default.")] = None,
    split: Annotated[str | None, typer.Option()] = None,
    strict: Annotated[
        bool, typer.Option(help="Refuse runs that differ in pooling, data, splits, preprocessing or settings.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Picture to write; .png, .pdf or .svg.")] = None,
) -> None:
    """Compare the last epochs of two runs, layer by layer: tables, and a picture of both and their difference."""
    from layerwise.cli.pictures import compare_runs

    path = output or Path(f"{first}-{second}-compare.png".replace("/", "-"))
    _echo(compare_runs(store, first, second, list(metric or ()), split=split, strict=strict, path=path))
    _echo(f"wrote {path}")


@app.command()
def similarity(
    model: Model,
    data: Annotated[str, typer.Argument(help=_DATA)],
    other: Annotated[str | None, typer.Option(help="The network to compare with; the same by default.")] = None,
    layers: Layers = ["blocks"],  # noqa: B006
    reduce: Reduce = "auto",
    split: Annotated[str | None, typer.Option()] = None,
    device: Device = None,
    batch_size: Annotated[int, typer.Option()] = 64,
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
        device=_accelerator() if device is None else device,
        batch_size=batch_size,
        layers=_one(layers),
        reduce=reduce,
        trust_remote_code=trust_remote_code,
    )
    draw_similarity(ds, output)
    _echo(f"wrote {output}")


@app.command()
def rank(
    data: Annotated[str, typer.Argument(help=_DATA)],
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=_MODEL)],
    by: Annotated[str, typer.Option(help="probe_error, ncc_error, h_score or logme.")] = "probe_error",
    layers: Layers = ["blocks"],  # noqa: B006
    reduce: Reduce = "auto",
    target: Annotated[
        str | None, typer.Option(help="The labels, where there are several; the first by default.")
    ] = None,
    jackknife: Annotated[int, typer.Option(help="Groups of samples for standard errors; 0 for none.")] = 0,
    memory: Memory = None,
    device: Device = None,
    batch_size: Annotated[int, typer.Option()] = 64,
    trust_remote_code: Trust = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Picture of networks by depth.")] = None,
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
        device=_accelerator() if device is None else device,
        batch_size=batch_size,
        layers=_one(layers),
        reduce=reduce,
        jackknife=jackknife,
        memory=memory,
        trust_remote_code=trust_remote_code,
    )
    rows = ranking.frame.to_dict("records")
    _echo(_to_json({"by": by, "split": ranking.held_out, "layers": rows}) if json else ranking.text())
    if output is not None:
        draw_ranking(ranking, output)
        _echo(f"wrote {output}", err=json)


@app.command()
def ls(
    store: StorePath,
    check: Annotated[bool, typer.Option("--check", help="Read every value, to find runs that are damaged.")] = False,
    json: Json = False,
) -> None:
    """List the runs of a store; a damaged one is a line on stderr, and the exit code is then 1."""
    from layerwise.store import open_store

    opened = open_store(store, create=False)
    rows, errors = [], {}
    for name, found in opened.contents().items():
        if isinstance(found, LayerwiseError):
            errors[name] = found
        elif check and (damage := opened.damage(name)):
            errors[name] = damage
        else:
            rows.append({"run": name, **found})
    if json:
        _echo(_to_json([*rows, *({"run": name, "error": str(error)} for name, error in errors.items())]))
    else:
        for row in rows:
            splits = ", ".join(row["splits"])
            name = escaped(row["run"])
            _echo(f"{name}: {row['epochs']} epochs, {row['layers']} layers, splits {splits}; {row['model']}")
    for error in errors.values():
        _echo(f"damaged: {error}", err=True)
    if errors:
        raise typer.Exit(1)


@app.command()
def compact(
    store: StorePath,
    keep: Annotated[
        int,
        typer.Option(min=0, max=1_000_000, help="Hours for which what was replaced stays; readers may have it open."),
    ] = 24,
) -> None:
    """Free the space of what newer writes replaced, and forget that part of the history; no run changes."""
    from datetime import timedelta

    from layerwise.store import open_store

    freed = open_store(store, create=False).compact(timedelta(hours=keep))
    _echo(f"freed {freed / 1e6:.1f} MB in {store}")


@app.command()
def export(
    store: StorePath,
    run: Run,
    path: Annotated[Path, typer.Argument(help="File to write: .zarr, .nc, .parquet or .csv.")],
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
) -> None:
    """Write a run to a plain file for other programs."""
    from layerwise.store import export as write
    from layerwise.store import open_store

    write(open_store(store, create=False)[run], path, overwrite=overwrite)
    _echo(f"wrote {path}")


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A profile as .zarr or .nc.")],
    store: Annotated[str, typer.Argument(help="The store that takes it; made where there is none.")],
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
    _echo(f"wrote run {name!r} to {store}")


@app.command()
def metrics(
    pattern: Annotated[str, typer.Argument(help="A name or a glob; all by default.")] = "*",
    json: Json = False,
) -> None:
    """List the metrics: what each measures, which way collapse is, its dims, the passes it takes, and its source."""
    from layerwise.cli.tables import metric_rows, metric_table

    _echo(_to_json(metric_rows(pattern)) if json else metric_table(pattern))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the store and the pictures go.")] = Path("layerwise-demo"),
) -> None:
    """See where two real networks collapse: a pretrained text transformer, and a small network in training."""
    from layerwise.cli.demo import run_demo

    run_demo(folder, _echo)


@app.command()
def study(
    name: Annotated[str | None, typer.Argument(help="A study or a group of them, as --list shows it, or all.")] = None,
    scale: Annotated[str, typer.Option(help="quick, default or full (the paper's own, for a GPU).")] = "default",
    seeds: Annotated[int | None, typer.Option(min=1, help="How many; five by default.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as recipe.epochs=20; repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    store: Annotated[str, typer.Option(help="Where seeds and epochs are kept, to go on from.")] = "studies.lw",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the figure; of more than one, also of the report."),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the studies.")] = False,
) -> None:
    """Run a published claim: measure it over seeds, judge it against its bound, and draw it."""
    from layerwise.studies.frame.catalogue import is_group
    from layerwise.studies.frame.command import list_text, run_all, run_one

    if show or name is None:
        _echo(list_text())
        return
    changes: dict[str, Any] = {"seeds": seeds, "words": settings, "config": config}
    if name == "all":
        run_all(scale, store, output or Path("docs"), _echo, **changes)
    elif is_group(name):
        run_all(scale, store, output or Path(), _echo, group=name, **changes)
    else:
        run_one(name, scale, store, output or Path(), _echo, **changes)


def _one(chosen: list[str]) -> str | list[str]:
    return chosen[0] if len(chosen) == 1 else chosen


def _run_name(model: str, data: str) -> str:
    """A name that a store takes, of the last parts of model and data."""
    scheme, _, path = data.partition("?")[0].partition(":")
    parts = (Path(model.rstrip("/")).name.replace(":", "."), f"{scheme}-{Path(path.rstrip('/')).stem}")
    plain = ["".join(sign if sign.isalnum() or sign in "._-" else "-" for sign in part) for part in parts if part]
    return "/".join(part.encode()[:200].decode(errors="ignore") for part in plain)


def _fixed_part(pattern: str) -> str:
    """The folder that a pattern searches."""
    parts = Path(pattern).expanduser().absolute().parts
    return str(Path(*itertools.takewhile(lambda part: not set("*?[") & set(part), parts)))


def _accelerator() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _print(ds: Any, json: bool) -> None:
    from layerwise.cli.tables import profile_frame, profile_table, summary
    from layerwise.derive import pooling_text

    if json:
        frames = {split: profile_frame(ds, split, metrics=list(ds.data_vars)) for split in ds["split"].values}
        rows = {split: frame.reset_index().to_dict("records") for split, frame in frames.items()}
        _echo(_to_json({"layers": rows, "attributes": ds.attrs}))
        return
    pooling = pooling_text(ds)
    pooled = f"; pooling: {pooling}" if pooling else ""
    for split in ds["split"].values:
        _echo(f"\n{split} ({ds.attrs['data']}{pooled})\n{profile_table(ds, split)}")
    if said := summary(ds):
        _echo(said)


def _to_json(value: Any) -> str:
    """JSON that other languages read: NaN and infinity become null."""
    import json
    import math

    def clean(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: clean(inner) for key, inner in item.items()}
        if isinstance(item, list):
            return [clean(inner) for inner in item]
        item = item.item() if hasattr(item, "item") else item
        return None if isinstance(item, float) and not math.isfinite(item) else item

    return json.dumps(clean(value), indent=2)
