"""Profiles made up for the tests of plots, stores and derived quantities: right in form, arbitrary in value."""

from __future__ import annotations

import numpy as np
import xarray as xr

from layerwise.schema import Variable, assemble

VARIABLES = (
    Variable(
        "nc1",
        ("epoch", "split", "target", "layer"),
        "within over between class variability",
        "1",
        "down",
        "Papyan 2020",
    ),
    Variable(
        "ncc_error", ("epoch", "split", "target", "layer"), "nearest class-centre error", "1", "down", "Galanti 2022"
    ),
    Variable("stable_rank", ("epoch", "split", "layer"), "stable rank", "1", "down", ""),
    Variable(
        "class_variance", ("epoch", "split", "target", "layer", "class"), "variance within a class", "1", "down", ""
    ),
)


def made_up(
    epochs: int = 1,
    splits: tuple[str, ...] = ("train", "test"),
    targets: tuple[str, ...] = ("label",),
    layers: int = 12,
    classes: int = 4,
    seed: int = 0,
) -> xr.Dataset:
    """A profile whose `nc1` falls over several decades with depth and epoch, with noise drawn from `seed`."""
    generator = np.random.default_rng(seed)
    depth = np.linspace(0.0, 1.0, layers)
    sizes = {"epoch": epochs, "split": len(splits), "target": len(targets), "layer": layers, "class": classes}
    time = np.arange(epochs) / max(epochs - 1, 1)
    fall = 10.0 ** (1.0 - 5.0 * depth[None, :] * (0.2 + 0.8 * time[:, None]))
    values = {}
    for variable in VARIABLES:
        shape = tuple(sizes[dim] for dim in variable.dims)
        noise = np.exp(0.1 * generator.standard_normal(shape))
        along = tuple(sizes[dim] if dim in ("epoch", "layer") else 1 for dim in variable.dims)
        values[variable.name] = noise * fall.reshape(along)
    values["ncc_error"] = values["ncc_error"] / (1.0 + values["ncc_error"])
    names = [f"encoder.stages.{index // 6}.blocks.{index % 6}" for index in range(layers)]
    return assemble(
        values,
        VARIABLES,
        {
            "epoch": ("epoch", np.arange(epochs)),
            "step": ("epoch", 100 * np.arange(epochs)),
            "split": ("split", list(splits)),
            "target": ("target", list(targets)),
            "layer": ("layer", names),
            "class": ("class", np.arange(classes)),
            "depth": ("layer", depth),
            "kind": ("layer", ["Block"] * layers),
            "features": ("layer", np.full(layers, 64)),
            "shape": ("layer", ["64x8x8"] * layers),
            "reduction": ("layer", ["gap"] * layers),
            "parameters": ("layer", np.full(layers, 1000)),
        },
        {"model": "made-up", "seed": seed},
    )
