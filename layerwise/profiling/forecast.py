"""The layers of a network, and what a profile of them would cost, before there is any data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerwise.arguments import checked, whole
from layerwise.features.choose_readings import readings_of
from layerwise.features.pooling import poolings_of
from layerwise.metrics import select
from layerwise.network.graph.blocks import choose
from layerwise.network.layer import depths
from layerwise.network.resolve import find_network
from layerwise.passes.plan import Plan, make_plan
from layerwise.passes.workload import Workload
from layerwise.runtime.byte_sizes import parse_memory, readable
from layerwise.runtime.table_cells import depth_cell
from layerwise.settings import ARGUMENTS, KINDS

__all__ = ["Forecast", "forecast"]


@dataclass(frozen=True)
class Forecast:
    """Layers, a row each, and the plan for profiling them.

    Attributes
    ----------
    rows : list of dict
        Name, kind, shape, features, reduction, parameters and depth of each layer.
    plan : Plan
    classes, samples : int
        What the plan is made for.
    """

    rows: list[dict[str, Any]]
    plan: Plan
    classes: int
    samples: int

    def text(self) -> str:
        """Return a table and the forecast, for a terminal."""
        import pandas as pd

        table: str = pd.DataFrame(self.rows).to_string(index=False, formatters={"depth": depth_cell})
        cost = f"for {self.classes} classes and {self.samples:,} samples: {self.plan.reason}"
        waiting = f"; waiting features {readable(self.plan.cache_bytes)}" if self.plan.cache_bytes else ""
        return f"{table}\n\n{cost}{waiting}"

    def json(self) -> str:
        """Return layers and plan as JSON, for a program."""
        plan = {
            "passes": self.plan.passes,
            "second_pass_from": self.plan.second,
            "statistics_bytes": self.plan.statistics_bytes,
            "finishing_bytes": self.plan.finishing_bytes,
            "cache_bytes": self.plan.cache_bytes,
            "reason": self.plan.reason,
        }
        return json.dumps({"layers": self.rows, "plan": plan}, indent=2)


@checked(
    {**KINDS, **ARGUMENTS},
    classes=whole("classes are a whole number of 1 or more", 1, 10**9),
    samples=whole("samples are a whole number of 1 or more", 1),
)
def forecast(
    model: nn.Module | str,
    *,
    layers: str | Sequence[str] = "blocks",
    reduce: str = "auto",
    classes: int = 10,
    samples: int = 10_000,
    memory: str | int | None = None,
    trust_remote_code: bool = False,
) -> Forecast:
    """List the layers and plan a profile with every metric, on made-up inputs.

    Parameters
    ----------
    model : Module or str
        As for `layerwise.profile`.
    layers, reduce, memory, trust_remote_code
        As in `layerwise.Settings`.
    classes, samples : int
        The data that the plan is made for.

    Raises
    ------
    UnknownName
        If there is no such model, layer or reduction.
    BudgetExceeded
        If no plan fits the memory.
    """
    network, _ = find_network(model, None, trust_remote_code=trust_remote_code)
    inputs = network.adapter.example(network.model)
    batch = network.batch((inputs, torch.zeros(2, dtype=torch.int64)))
    traced = network.trace(batch).trace
    chosen = choose(traced, layers, network.head)
    readings = readings_of(network, traced, chosen, batch, reduce, seed=0, poolings=poolings_of(network, batch))
    metrics = select()
    work = Workload(
        widths=[reading.features for reading in readings],
        classes=classes,
        samples=samples,
        needs={need for metric in metrics for need in metric.needs},
        metrics=metrics,
    )
    plan = make_plan(work, parse_memory(memory))
    layer_depths = depths([reading.layer for reading in readings])
    rows = [
        {
            "layer": reading.name,
            "kind": reading.layer.kind,
            "shape": "x".join(map(str, reading.layer.shape)),
            "features": reading.features,
            "reduction": reading.stated,
            "parameters": reading.layer.parameters,
            "depth": depth,
        }
        for reading, depth in zip(readings, layer_depths, strict=True)
    ]
    return Forecast(rows, plan, classes, samples)
