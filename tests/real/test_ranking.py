"""Layers are ranked as trained linear probes rank them, without training any."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layerwise.network import Reading
from layerwise.profiling import Profiler
from layerwise.ranking import rank
from layerwise.settings import Settings

from . import networks
from .fetch import folder


def trained_probe_errors(network: nn.Module | str, data: str) -> dict[str, float]:
    """Test error of a logistic regression on the standardised features of every layer, by gradient descent."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    profiler = Profiler(network, data, Settings(metrics="feature_norm"))
    found: dict[str, dict[str, list[Tensor]]] = {}
    labels: dict[str, list[Tensor]] = {}
    for split, batches in profiler.loaders.splits.items():

        def receive(reading: Reading, features: Tensor, split: str = split) -> None:
            found.setdefault(reading.name, {}).setdefault(split, []).append(features.clone())

        with profiler.network.reading(profiler.readings, receive) as run, torch.inference_mode():
            for batch in profiler.network.batches(batches):
                run(batch)
                labels.setdefault(split, []).append(batch.labels["label"])
    known = {split: torch.cat(parts).numpy() for split, parts in labels.items()}
    errors = {}
    for layer, parts in found.items():
        own = {split: torch.cat(batches).numpy() for split, batches in parts.items()}
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        probe.fit(own["train"], known["train"])
        errors[layer] = 1 - probe.score(own["test"], known["test"])
    return errors


def agreement(network: nn.Module | str, data: str) -> dict[str, float]:
    """Spearman correlation over layers of what is ranked by with the errors of trained probes."""
    from scipy.stats import spearmanr

    ranking = rank({"network": network}, data)
    trained = trained_probe_errors(network, data)
    frame = ranking.frame
    expected = np.array([trained[layer] for layer in frame["layer"]])
    signs = {"probe_error": 1, "ncc_error": 1, "h_score": -1, "logme": -1}
    return {name: sign * float(spearmanr(frame[name], expected).statistic) for name, sign in signs.items()}


@pytest.mark.real("cifar10", "resnet56")
def test_layers_of_resnet56_are_ranked_as_by_trained_probes_on_cifar10() -> None:
    found = agreement(networks.resnet56(), f"npz:{folder()}/cifar10-10k.npz?limit=3000")
    assert min(found.values()) >= 0.9
