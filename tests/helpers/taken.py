"""What profiles take of memory, and what was foreseen, as JSON: for a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.classes import peak_of
from layerwise.profiling import Profiler
from layerwise.settings import Settings

CASES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "as many classes as features": (500, 320, {}),
    "more": (1500, 96, {}),
    "few": (40, 600, {}),
    "again without groups": (600, 192, {"jackknife": 3, "metrics": ["nc1", "ncc_error", "probe_error", "vci"]}),
    "regression": (0, 600, {}),
}


def taken_and_foreseen(classes: int, width: int, options: dict[str, Any]) -> tuple[int, int]:
    """Bytes at the peak of a profile of so many classes (none for regression) at a width, and bytes of its plan."""
    samples = max(2 * classes, 500)
    labels = torch.arange(samples) % classes if classes else torch.randn(samples, 4)
    features = torch.randn(samples, width, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(nn.Identity(), nn.Linear(width, 4)).eval()
    data = DataLoader(TensorDataset(features, labels), 64)
    declared = {"classes": classes} if classes else {}
    made = Profiler(network, data, settings=Settings(layers=["0"], memory="2GiB", **declared, **options))
    # What libraries take, they take the first time.
    made.measure()
    plan = made.plan
    return peak_of(made.measure), plan.statistics_bytes + plan.finishing_bytes + plan.cache_bytes


if __name__ == "__main__":
    print(json.dumps({case: taken_and_foreseen(*given) for case, given in CASES.items()}))
