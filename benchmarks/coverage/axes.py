"""Prove the axis of the samples of every layer, with two numbers of samples, and write which could not be proven.

    python -m benchmarks.coverage.axes [--zoo timm] [--out docs/axes.md] [NAMES]

One architecture of each family of timm, on the meta device where it can be made there, and each model type of
transformers, small and with random weights. Layers are all that any module gives.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmarks.coverage import timm_zoo, transformers_zoo
from benchmarks.coverage.samples import network_and_batch
from layerwise.network.graph.blocks import all_calls, find_blocks
from layerwise.network.layer import Layer

__all__ = ["Measured", "measure", "measure_within"]


@dataclass(frozen=True)
class Measured:
    """What was measured of one architecture.

    Attributes
    ----------
    name : str
    blocks, layers : int
        Blocks, and all that modules give.
    unproven : tuple of str
        Blocks whose axis of samples no second number of samples told.
    folded, turned : int
        Layers that have several rows a sample, and layers whose samples are not on the first axis.
    sized : bool
        Whether the network ran on a second length or size of its input.
    error : str
        Why nothing was measured, if so.
    """

    name: str
    blocks: int = 0
    layers: int = 0
    unproven: tuple[str, ...] = ()
    folded: int = 0
    turned: int = 0
    sized: bool = False
    error: str = ""


def measure(zoo: str, name: str) -> Measured:
    """Measure the axes of one architecture."""
    try:
        network, batch = network_and_batch(zoo, name, 3, meta=True)
        traced = network.trace(batch)
    except Exception as error:
        cause = getattr(error, "error", error)
        return Measured(name, error=f"{type(cause).__name__}: {' '.join(str(cause).split())[:120]}")
    if not traced.alone:
        return Measured(name, error="a few samples do not run alone")
    blocks = [layer for layer in find_blocks(traced.trace, network.head) if layer.keeps_samples]
    layers = [layer for layer in all_calls(traced.trace) if layer.keeps_samples]
    return Measured(
        name,
        len(blocks),
        len(layers),
        tuple(layer.name for layer in blocks if not layer.axes.measured),
        folded=_count(layers, "folded"),
        turned=_count(layers, "samples"),
        sized=any(layer.axes.positions for layer in layers),
    )


def measure_within(seconds: float, zoo: str, name: str) -> Measured:
    """Measure one architecture in a process of its own, and stop it after so many seconds: some build for ever."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_send, args=(sender, zoo, name), daemon=True)
    worker.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(seconds) else Measured(name, error=f"no answer in {seconds:g} seconds")
    except EOFError:
        return Measured(name, error="the process died, for want of memory perhaps")
    finally:
        worker.kill()
        worker.join()


def _send(sender: Connection, zoo: str, name: str) -> None:
    sender.send(measure(zoo, name))


def _count(layers: Iterable[Layer], field: str) -> int:
    return sum(bool(getattr(layer.axes, field)) for layer in layers)


def _names(zoo: str) -> Iterator[str]:
    """One architecture of each family, or every type as the kind of model that comes first."""
    every = timm_zoo.names() if zoo == "timm" else transformers_zoo.names()
    families: dict[str, list[str]] = {}
    for name in every:
        family = timm_zoo.family(name) if zoo == "timm" else name.partition("/")[2]
        families.setdefault(family, []).append(name)
    for members in families.values():
        yield random.Random(0).choice(members) if zoo == "timm" else members[0]


def _table(found: dict[str, list[Measured]]) -> str:
    lines = [
        "# Axes",
        "",
        "In which architectures the axis of the samples was proven for every block, by running the network on two",
        f"and on three samples. Made by `python -m benchmarks.coverage.axes --zoo {' --zoo '.join(found)}` with",
        "networks of random weights: one architecture of each family of timm, each model type of transformers.",
        "",
    ]
    for zoo, measured in found.items():
        ran = [one for one in measured if not one.error]
        lines += [
            f"## {zoo}",
            "",
            f"{len(ran)} of {len(measured)} ran; in {sum(not one.unproven for one in ran)} every block is proven.",
            f"{sum(one.sized for one in ran)} ran on a second length or size too. Layers with several rows a sample:",
            f"{sum(one.folded for one in ran)}; with samples on another axis than the first: "
            f"{sum(one.turned for one in ran)}; of {sum(one.layers for one in ran)} that keep samples apart.",
            "",
            "| architecture | blocks | not proven |",
            "| --- | ---: | --- |",
            *(f"| {one.name} | {one.blocks} | {', '.join(one.unproven)} |" for one in ran),
            "",
            *(["What did not run:", ""] if len(ran) < len(measured) else []),
            *(f"- {one.name}: {one.error}" for one in measured if one.error),
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="these only, and nothing is written")
    parser.add_argument("--zoo", choices=["timm", "transformers"], action="append")
    parser.add_argument("--seconds", type=float, default=120, help="the most that one architecture may take")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs" / "axes.md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    found: dict[str, list[Measured]] = {}
    for zoo in options.zoo or ["timm", "transformers"]:
        for name in options.names or _names(zoo):
            one = measure_within(options.seconds, zoo, name)
            found.setdefault(zoo, []).append(one)
            print(zoo, one, flush=True)
    if not options.names:
        options.out.write_text(_table(found))


if __name__ == "__main__":
    main()
