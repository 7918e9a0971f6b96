"""Layers are ranked as trained linear probes rank them, without training any."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ranking import agreement, closed_forms, features_of, probe_mistakes
from layerwise.profiling.ranking import rank

from . import networks
from .fetch import folder


@pytest.mark.real("cifar10", "resnet56")
def test_layers_of_resnet56_are_ranked_as_by_trained_probes_on_cifar10() -> None:
    network, data = networks.resnet56(), f"npz:{folder()}/cifar10-10k.npz?limit=3000"
    mistakes = probe_mistakes(features_of(network, data), (0.01,))
    frame = rank({"network": network}, data).frame
    found = agreement(closed_forms(frame, list(mistakes)), np.stack(list(mistakes.values())))
    assert min(found.values()) >= 0.9
