"""The arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DATA",
    "MODEL",
    "BatchSize",
    "Data",
    "Device",
    "Json",
    "Layers",
    "Memory",
    "Model",
    "Overwrite",
    "Picture",
    "Reduce",
    "Run",
    "Split",
    "StorePath",
    "Trust",
    "one_or_list",
    "preferred_device",
]

#: How models and data are named.
MODEL = "timm/NAME, hf/NAME (hub id or local folder) or package.module:function"
DATA = "imagefolder:DIR, csv:FILE?text=..&label=.., parquet:FILE, npz:FILE, hf:NAME or sklearn:digits"

Model = Annotated[str, typer.Argument(help=MODEL)]
Data = Annotated[str, typer.Argument(help=DATA)]
StorePath = Annotated[str, typer.Argument(help="A store that layerwise wrote.")]
Run = Annotated[str, typer.Argument(help="Name of a run, as `layerwise ls` shows it.")]
Layers = Annotated[
    list[str], typer.Option("--layers", help="blocks, stages, leaves, all, a name or a glob; repeatable.")
]
Reduce = Annotated[str, typer.Option(help="auto, gap, grid:k, cls, mean, max, last, eos, flatten or sketch:k.")]
Memory = Annotated[
    str | None, typer.Option(help="Budget of the statistics, such as 8GiB; half of the free memory by default.")
]
Device = Annotated[str | None, typer.Option(help="Such as cpu or cuda:0; an accelerator where there is one.")]
BatchSize = Annotated[int, typer.Option(help="Samples in a batch.")]
Split = Annotated[str | None, typer.Option(help="train by default, or else the first.")]
Trust = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run Python code that comes with MODEL; it can do whatever you can."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
Overwrite = Annotated[bool, typer.Option(help="Replace what has the same name.")]
Picture = Annotated[Path | None, typer.Option("--output", "-o", help="Picture to write; .png, .pdf or .svg.")]


def one_or_list(words: list[str]) -> str | list[str]:
    """Return the only word as it is, several as a list."""
    return words[0] if len(words) == 1 else words


def preferred_device(device: str | None) -> str:
    """Return the device that was asked for; by default an accelerator, where there is one."""
    import torch

    if device is not None:
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
