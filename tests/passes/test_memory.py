"""What a profile takes stays within what the planner foresees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from layerwise.metrics import get, select
from layerwise.metrics.sizes import Sizes
from layerwise.passes.memory import MemoryModel
from layerwise.passes.workload import Workload

MIB = 1 << 20
SCRIPT = Path(__file__).parents[1] / "helpers" / "taken.py"


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read as Linux tells it")
def test_what_profiles_take_is_foreseen():
    # In a process of its own: what earlier tests left of memory is neither taken nor given back again.
    told = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True, timeout=240)
    found = json.loads(told.stdout.splitlines()[-1])
    assert len(found) == 5
    for case, (taken, foreseen) in found.items():
        assert taken <= foreseen + 4 * MIB, case
        # And not by foreseeing far too much.
        assert taken >= foreseen / 3, case


def test_only_what_was_asked_for_is_counted():
    def finishing(*names: str) -> int:
        metrics = [get(name) for name in names]
        needs = frozenset(need for metric in metrics for need in metric.needs)
        return MemoryModel(Workload([512], 100, None, needs, metrics=metrics, batch=1)).of_finishing(512, 512)

    assert finishing("nc1_trace") < finishing("vci") < finishing("vci", "logme") == finishing("logme")


@pytest.mark.parametrize("name", [metric.name for metric in select("*")])
def test_every_metric_says_what_it_takes(name):
    small, large = (get(name).workspace(Sizes(classes, 64, 64)) for classes in (10, 500))
    assert 0 < small <= large
