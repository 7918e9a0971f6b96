"""How far `layerwise rank` agrees with linear probes that are trained, over the layers of one network or of several.

    python -m benchmarks.ranking DATA MODEL [MODEL...] [--halves 500]
    python -m benchmarks.ranking movie-reviews minilm smollm2

Every network runs once; `layerwise.rank` and the trained probes read the same features. Probes are logistic
regressions on standardised features, regularised as cross-validation on the training split asks for. Beside Spearman's
correlation with their test errors stands that of their own rankings on two halves of the test samples: how far the
order of the layers can be known at all from so many samples.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from layerwise.features.read_features import reading_features
from layerwise.features.reading import LayerReading
from layerwise.metrics import get
from layerwise.profiling import Profiler
from layerwise.profiling.ranking import RANKED, rank
from layerwise.settings import Settings
from layerwise.studies.data import locate
from layerwise.studies.networks.pretrained import load_pretrained

__all__ = ["Features", "agreement", "closed_forms", "features_of", "probe_mistakes"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Features:
    """What a network makes of labelled samples, by split: features by layer, ``(n, d)`` each, and labels ``(n,)``."""

    layers: dict[str, dict[str, Tensor]]
    labels: dict[str, Tensor]


class Replayed(nn.Module):
    """Gives features of several layers, side by side in one input, at a module each."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.edges = list(pairwise(np.cumsum([0, *widths]).tolist()))
        self.layers = nn.ModuleList(nn.Identity() for _ in widths)

    def forward(self, features: Tensor) -> Tensor:
        outputs: list[Tensor] = [
            layer(features[:, start:stop]) for layer, (start, stop) in zip(self.layers, self.edges, strict=True)
        ]
        return outputs[-1]


def features_of(network: nn.Module | str, data: str) -> Features:
    """The features of every layer that a profile would measure."""
    profiler = Profiler(network, data, settings=Settings(metrics="feature_norm"))
    layers: dict[str, dict[str, list[Tensor]]] = {}
    labels: dict[str, list[Tensor]] = {}
    for split, batches in profiler.loaders.splits.items():
        own = layers.setdefault(split, {})

        def receive(reading: LayerReading, features: Tensor, own: dict[str, list[Tensor]] = own) -> None:
            own.setdefault(reading.name, []).append(features.clone())

        with reading_features(profiler.network, profiler.readings, receive) as run, torch.inference_mode():
            for batch in profiler.network.batches(batches):
                run(batch)
                labels.setdefault(split, []).append(batch.labels["label"])
    return Features(
        {split: {name: torch.cat(parts) for name, parts in own.items()} for split, own in layers.items()},
        {split: torch.cat(parts) for split, parts in labels.items()},
    )


def probe_mistakes(features: Features, strengths: tuple[float, ...] = STRENGTHS) -> dict[str, np.ndarray]:
    """Which test samples a logistic regression gets wrong that is trained on a layer, ``(n,)``, for every layer."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = (features.labels[split].numpy() for split in ("train", "test"))
    mistakes = {}
    for layer, values in features.layers["train"].items():
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strengths[0], max_iter=300))
        if len(strengths) > 1:
            probe = GridSearchCV(probe, {"logisticregression__C": strengths}, cv=3)
        probe.fit(values.numpy(), train)
        mistakes[layer] = probe.predict(features.layers["test"][layer].numpy()) != test
    return mistakes


def ranked(features: Features) -> dict[str, np.ndarray]:
    """What `layerwise.rank` says of the same features."""
    splits = {
        split: list(zip(torch.cat([*own.values()], 1).split(512), features.labels[split].split(512), strict=True))
        for split, own in features.layers.items()
    }
    network = Replayed([values.shape[1] for values in features.layers["train"].values()]).eval()
    frame = rank({"network": network}, splits, layers="leaves").frame
    return closed_forms(frame, [f"layers.{place}" for place in range(len(network.layers))])


def closed_forms(frame: pd.DataFrame, layers: list[str]) -> dict[str, np.ndarray]:
    """What layers can be ranked by, the lower the better, in the order of `layers`."""
    own = frame.set_index("layer").loc[layers]
    return {name: (1 if get(name).variable.direction == "down" else -1) * own[name].to_numpy() for name in RANKED}


def agreement(found: dict[str, np.ndarray], mistakes: np.ndarray) -> dict[str, float]:
    """Spearman correlation over layers of what is ranked by with the errors of trained probes."""
    return {name: float(spearmanr(values, mistakes.mean(1)).statistic) for name, values in found.items()}


def halves(mistakes: np.ndarray, repeats: int) -> np.ndarray:
    """Spearman correlation of the probes' errors on two halves of the test samples, ``(repeats,)``."""
    generator = np.random.default_rng(0)
    middle = mistakes.shape[1] // 2
    orders = [generator.permutation(mistakes.shape[1]) for _ in range(repeats)]
    parts = [(mistakes[:, order[:middle]].mean(1), mistakes[:, order[middle:]].mean(1)) for order in orders]
    return np.array([spearmanr(*pair).statistic for pair in parts])


def main() -> int:
    """Compare layers of each network, and of all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--halves", type=int, default=500)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    measured = {}
    for model in options.models:
        features = features_of(load_pretrained(model), locate(options.data))
        mistakes = np.stack(list(probe_mistakes(features).values()))
        measured[model] = ranked(features), mistakes
        tell(model, *measured[model], options.halves)
    if len(measured) > 1:
        together = {name: np.concatenate([found[name] for found, _ in measured.values()]) for name in RANKED}
        tell("all", together, np.concatenate([mistakes for _, mistakes in measured.values()]), options.halves)
    return 0


def tell(model: str, found: dict[str, np.ndarray], mistakes: np.ndarray, repeats: int) -> None:
    """One network's agreement."""
    errors, own = mistakes.mean(1), halves(mistakes, repeats)
    said = ", ".join(f"{name} {value:.3f}" for name, value in agreement(found, mistakes).items())
    print(f"{model}: {said}; {len(errors)} layers, trained probes' errors {errors.min():.3f} to {errors.max():.3f}")
    print(f"  their own rankings on two halves of {mistakes.shape[1]:,} samples: {own.mean():.2f} ± {own.std():.2f}")
    print("  errors of trained probes, layer by layer:", " ".join(f"{error:.3f}" for error in errors), flush=True)


if __name__ == "__main__":
    sys.exit(main())
