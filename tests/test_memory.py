"""What a profile takes stays within what the planner foresees."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.classes import peak_of
from layerwise.memory import Load
from layerwise.metrics import get, select
from layerwise.metrics.sizes import Sizes
from layerwise.profiling import Profiler
from layerwise.settings import Settings

MIB = 1 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read as Linux tells it")
@pytest.mark.parametrize(
    ("classes", "width", "options"),
    [
        (500, 320, {}),
        (1500, 96, {}),
        (40, 600, {}),
        (600, 192, {"jackknife": 3, "metrics": ["nc1", "ncc_error", "probe_error", "vci"]}),
        (0, 600, {}),
    ],
    ids=["as many classes as features", "more", "few", "again without groups", "regression"],
)
def test_what_a_profile_takes_is_foreseen(classes, width, options):
    samples = max(2 * classes, 500)
    labels = torch.arange(samples) % classes if classes else torch.randn(samples, 4)
    features = torch.randn(samples, width, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(nn.Identity(), nn.Linear(width, 4)).eval()

    data = DataLoader(TensorDataset(features, labels), 64)
    declared = {"classes": classes} if classes else {}
    made = Profiler(network, data, Settings(layers=["0"], memory="2GiB", **declared, **options))
    # What libraries take, they take the first time.
    made.measure()
    foreseen = made.plan.statistics_bytes + made.plan.finishing_bytes + made.plan.bank_bytes
    taken = peak_of(made.measure)
    assert taken <= foreseen + 4 * MIB
    # And not by foreseeing far too much.
    assert taken >= foreseen / 3


def test_only_what_was_asked_for_is_counted():
    def finishing(*names: str) -> int:
        metrics = [get(name) for name in names]
        needs = frozenset(need for metric in metrics for need in metric.needs)
        return Load(100, 1, (), needs, metrics).of_finishing(512, 512)

    assert finishing("nc1_trace") < finishing("vci") < finishing("vci", "logme") == finishing("logme")


@pytest.mark.parametrize("name", [metric.name for metric in select("*")])
def test_every_metric_says_what_it_takes(name):
    small, large = (get(name).room(Sizes(classes, 64, 64)) for classes in (10, 500))
    assert 0 < small <= large
