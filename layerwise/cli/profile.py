"""The command `layerwise profile`: measure a network, or the checkpoints of its training, and store the profile."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layerwise.cli.options import (
    BatchSize,
    Data,
    Device,
    Json,
    Layers,
    Memory,
    Model,
    Overwrite,
    Reduce,
    Trust,
    one_or_list,
    preferred_device,
)
from layerwise.cli.output import echo, to_json
from layerwise.errors import InvalidData

if TYPE_CHECKING:
    import xarray as xr

    from layerwise.store import Store

__all__ = ["profile"]

_CHECKPOINTS = (
    'Such as "runs/seed0/checkpoint-*": weights for MODEL, one epoch of the run each; those that the store has are '
    "skipped."
)

# Without the dashes torchrun reads --run first, and on Python 3.11 takes it for the start of an option of its own.
_NAME = (
    "Its name in the store; made of model and data by default. Under torchrun write `-m layerwise -- profile`, or "
    "--name for --run."
)


def profile(
    model: Model,
    data: Data,
    layers: Layers = ["blocks"],  # noqa: B006
    reduce: Reduce = "auto",
    metrics: Annotated[list[str] | None, typer.Option(help="Names or globs; all by default; repeatable.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes, where the data does not say.")] = None,
    convention: Annotated[str, typer.Option(help="default, papyan, he_su, he_su_imbalanced or ibrahim.")] = "default",
    debiased: Annotated[
        bool, typer.Option(help="Correct nc1, nc1_trace, cdnv, vci and h_score for the bias of few samples.")
    ] = False,
    frame: Annotated[str | None, typer.Option(help="Measure frame_distance from it: etf or orthogonal.")] = None,
    standardize: Annotated[
        bool, typer.Option(help="Count regression targets in units of their standard deviations.")
    ] = False,
    memory: Memory = None,
    device: Device = None,
    batch_size: BatchSize = 64,
    directions: Annotated[str, typer.Option(help="Random directions for geometric complexity, or exact.")] = "8",
    jackknife: Annotated[
        int, typer.Option(help="Groups of samples for standard errors and intervals; 0 for none, 10 are usual.")
    ] = 0,
    null: Annotated[
        int,
        typer.Option(help="Shuffles of labels for the values by chance; 0 for none, 39 for a 95% band."),
    ] = 0,
    check: Annotated[
        bool, typer.Option(help="Run a few samples again beforehand: features must not depend on the batch.")
    ] = True,
    drop_nonfinite: Annotated[
        bool, typer.Option(help="Leave out samples with NaN or infinity, in a layer or a target.")
    ] = False,
    store: Annotated[str, typer.Option(help="Where the profile is stored; a folder, s3:// or gs://.")] = "profiles.lw",
    run: Annotated[str | None, typer.Option("--run", "--name", "-n", help=_NAME)] = None,
    overwrite: Overwrite = False,
    resume_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where a long profile saves its state, to resume if it is killed; next to the store by default."
        ),
    ] = None,
    checkpoints: Annotated[str | None, typer.Option(help=_CHECKPOINTS)] = None,
    base: Annotated[bool, typer.Option("--base", help="With --checkpoints: MODEL without a checkpoint is epoch 0.")] = (
        False
    ),
    trust_remote_code: Trust = False,
    json: Json = False,
) -> None:
    """Measure how far every layer of a network has collapsed on your data: the main job."""
    settings = {
        "batch_size": batch_size,
        "layers": one_or_list(layers),
        "reduce": reduce,
        "metrics": metrics or None,
        "classes": classes,
        "convention": convention,
        "debiased": debiased,
        "frame": frame,
        "standardize": standardize,
        "memory": memory,
        "directions": _number_or_word(directions),
        "jackknife": jackknife,
        "null": null,
        "check": check,
        "trust_remote_code": trust_remote_code,
        "nonfinite": "drop" if drop_nonfinite else "raise",
    }
    place = _Place(store, _run_name(model, data, checkpoints) if run is None else run, overwrite, resume_dir)
    ds = _measure_and_store(_Source(model, data, checkpoints, base), place, device, settings)
    if ds is None:
        return
    _print_profile(ds, json)
    written = (
        f"{ds.sizes['epoch']} epochs are in run {place.run!r} of" if checkpoints else f"wrote run {place.run!r} to"
    )
    echo(f"{written} {store}", err=True)


@dataclass(frozen=True)
class _Source:
    """What is profiled: a model, or the checkpoints of its training."""

    model: str
    data: str
    checkpoints: str | None
    base: bool


@dataclass(frozen=True)
class _Place:
    """Where the profile and the state of an interrupted one are stored."""

    store: str
    run: str
    overwrite: bool
    resume_dir: Path | None


def _measure_and_store(
    source: _Source, place: _Place, device: str | None, settings: dict[str, Any]
) -> xr.Dataset | None:
    """Return the profile, or None in a process that is not the one that writes."""
    from layerwise.passes.resume import ResumeState, resume_folder
    from layerwise.runtime.distributed import is_secondary_process, process_group
    from layerwise.store.open import new_or_open
    from layerwise.store.write import check_name

    check_name(place.run)
    with ExitStack() as stack:
        process_device = stack.enter_context(process_group())
        target = None if is_secondary_process() else stack.enter_context(new_or_open(place.store))
        state = stack.enter_context(ResumeState(place.resume_dir or resume_folder(place.store, place.run)))
        settings = settings | {
            "device": preferred_device(process_device if device is None else device),
            "resume_dir": state,
        }
        if source.checkpoints is not None and process_device:
            raise InvalidData("checkpoints are profiled by one process: leave torchrun away")
        if source.base and source.checkpoints is None:
            raise InvalidData("--base is the network before the training that --checkpoints are of, and there are none")
        measure = _measure_model if source.checkpoints is None else _measure_checkpoints
        ds = measure(source, place, target, settings)
        state.remove()
    return None if target is None else ds


def _measure_model(source: _Source, place: _Place, target: Store | None, settings: dict[str, Any]) -> xr.Dataset:
    from layerwise.profiling.profiler import profile as measure

    if target is not None:
        target.check(place.run)
        if place.run in target and not place.overwrite:
            raise InvalidData(
                f"{place.store} has a run {place.run!r} already; choose another with --run, or --overwrite it"
            )
    ds = measure(source.model, source.data, **settings)
    if target is not None:
        (target.replace if place.overwrite else target.write)(ds, run=place.run)
    return ds


def _measure_checkpoints(source: _Source, place: _Place, target: Store | None, settings: dict[str, Any]) -> xr.Dataset:
    from layerwise.training.checkpoint_series import profile_checkpoints

    assert source.checkpoints is not None
    options: dict[str, Any] = {"store": target, "run": place.run, "overwrite": place.overwrite, "base": source.base}
    return profile_checkpoints(source.model, source.data, source.checkpoints, **settings, **options)


def _number_or_word(text: str) -> int | str:
    """Return a whole number as one; anything else stays text, which the settings refuse or know."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


def _run_name(model: str, data: str, checkpoints: str | None) -> str:
    """Make a name that a store takes from the last parts of model (or folder of checkpoints) and data."""
    model = model if checkpoints is None else _fixed_part(checkpoints)
    scheme, _, path = data.partition("?")[0].partition(":")
    parts = (Path(model.rstrip("/")).name.replace(":", "."), f"{scheme}-{Path(path.rstrip('/')).stem}")
    plain = ["".join(sign if sign.isalnum() or sign in "._-" else "-" for sign in part) for part in parts if part]
    return "/".join(part.encode()[:200].decode(errors="ignore") for part in plain)


def _fixed_part(pattern: str) -> str:
    """Return the folder that a pattern searches."""
    parts = Path(pattern).expanduser().absolute().parts
    return str(Path(*itertools.takewhile(lambda part: not set("*?[") & set(part), parts)))


def _print_profile(ds: xr.Dataset, json: bool) -> None:
    from layerwise.cli.tables import profile_frame, profile_table, summary
    from layerwise.derive import pooling_text

    if json:
        frames = {split: profile_frame(ds, split, metrics=list(map(str, ds.data_vars))) for split in ds["split"].values}
        rows = {split: frame.reset_index().to_dict("records") for split, frame in frames.items()}
        echo(to_json({"layers": rows, "attributes": ds.attrs}))
        return
    pooling = pooling_text(ds)
    pooled = f"; pooling: {pooling}" if pooling else ""
    for split in ds["split"].values:
        echo(f"\n{split} ({ds.attrs['data']}{pooled})\n{profile_table(ds, split)}")
    if text := summary(ds):
        echo(text)
