"""Draws the pictures of docs/metrics.md: how metrics answer to features that are made up for the purpose.

``python docs/draw_metrics.py [FOLDER]`` writes them to ``docs/images``, or to another folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation

from layerwise.metrics import compute, convention, get
from layerwise.statistics import CenterProjections, Centers, ClassMoments, ProbeErrors, Weights, fit_ridge

__all__ = ["PICTURES", "draw_all"]

# Okabe and Ito's colours, with a mark and a stroke for each, so that nothing hangs on colour alone.
STYLES = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    {"color": "#009E73", "marker": "^", "linestyle": "-."},
    {"color": "#CC79A7", "marker": "D", "linestyle": ":"},
    {"color": "#000000", "marker": "v", "linestyle": (0, (5, 1))},
)

CLASSES, WIDTH, PER_CLASS = 5, 32, 200


def frame(classes: int = CLASSES, width: int = WIDTH) -> np.ndarray:
    """Vertices of a simplex of norm one, shape ``(classes, width)``."""
    vertices = np.eye(classes) - 1 / classes
    return np.pad(vertices / np.linalg.norm(vertices[0]), ((0, 0), (0, width - classes)))


def clouds(
    means: np.ndarray, noise: float, *, per_class: int = PER_CLASS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian cloud of total standard deviation `noise` about each mean: features and labels."""
    labels = np.repeat(np.arange(len(means)), per_class)
    spread = np.random.default_rng(seed).standard_normal((len(labels), means.shape[1])) / np.sqrt(means.shape[1])
    return means[labels] + noise * spread, labels


def measure(
    features: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    next_map: np.ndarray | None = None,
    predictions: np.ndarray | None = None,
) -> dict[str, float]:
    """Metrics of features and labels, through the library's own statistics."""
    given, classes = torch.from_numpy(features), torch.from_numpy(labels)
    accumulated = ClassMoments(scatter=True)
    accumulated.update(given, classes)
    moments = accumulated.finish()
    centers = Centers.of(moments, int(labels.max()) + 1)
    ridge = fit_ridge(moments, 1e-3)
    projections = CenterProjections(centers, centers, ridge)
    nearest, scores = projections.update(given, classes)
    if predictions is not None:
        projections.compare(nearest, torch.from_numpy(predictions))
    span, falls = projections.finish()
    probe = ProbeErrors(ridge)
    probe.update(scores, classes)
    evidence: dict[str, Any] = {
        "convention": convention("default"),
        "classifier": next_map,
        "next_map": next_map,
        "weights": None if next_map is None else Weights(next_map),
        "moments": moments,
        "covariance": moments,
        "span": span,
        "nearest": falls,
        "probe": probe.finish(),
    }
    return {name: float(compute(get(name), evidence, len(moments.classes))) for name in names}


def curves(ax: Axes, places: Sequence[float], results: Sequence[Mapping[str, float]], *, skip: int = 0) -> None:
    """One line a metric, over what was varied; the first styles are skipped."""
    for style, name in zip(STYLES[skip:], results[0], strict=False):
        values = [result[name] for result in results]
        ax.plot(places, values, label=name, markersize=4, linewidth=1.4, **style)
    ax.spines[["top", "right"]].set_visible(False)


def with_legend(figure: Figure, axes: Sequence[Axes]) -> Figure:
    """The figure with one legend below, of every line that its Axes have."""
    lines = {str(line.get_label()): line for ax in axes for line in ax.lines}
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=len(lines), fontsize=8, frameon=False)
    return figure


def panels(*titles: str) -> tuple[Figure, list[Axes]]:
    """Axes side by side, with a title each."""
    figure, axes = plt.subplots(1, len(titles), figsize=(3.3 * len(titles), 2.9), layout="constrained")
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=9)
        ax.tick_params(labelsize=7)
        ax.xaxis.label.set_size(8)
    return figure, list(axes)


def variability() -> Figure:
    """NC1: growing noise, one direction of it, and more features."""
    figure, (noise, narrow, wide) = panels(
        "noise in all directions", "one narrow class direction", "few samples, no classes"
    )
    names = ("nc1", "nc1_trace", "cdnv", "vci")
    levels = np.logspace(-2, 0.7, 12)
    curves(noise, levels, [measure(*clouds(frame(), level), names) for level in levels])
    noise.set(xscale="log", yscale="log", xlabel="noise over distance to the mean")
    shrunk = np.logspace(-1.5, 0, 12)
    results = []
    for factor in shrunk:
        left, values, right = np.linalg.svd(frame(), full_matrices=False)
        values[CLASSES - 2] *= factor
        results.append(measure(*clouds(left * values @ right, 0.3), names))
    curves(narrow, shrunk, results)
    narrow.set(xscale="log", yscale="log", xlabel="length of the narrowest direction")
    counts = np.array([2, 3, 5, 10, 20, 50, 100, 200])
    nothing = [measure(*clouds(np.zeros((CLASSES, WIDTH)), 1.0, per_class=count), names) for count in counts]
    curves(wide, counts, nothing)
    wide.set(xscale="log", yscale="log", xlabel="samples of a class", ylim=(1e-2, 1e3))
    return with_legend(figure, [noise, narrow, wide])


def geometry() -> Figure:
    """NC2: unequal norms, unequal angles, and an offset."""
    figure, (norms, angles, offset) = panels(
        "one class mean grows", "two class means draw together", "all features move by one vector"
    )
    names = ("equinorm", "equiangularity", "max_angle", "etf_error", "orthogonality_error")
    factors = np.linspace(1, 4, 10)
    grown = [np.concatenate([frame()[:1] * factor, frame()[1:]]) for factor in factors]
    curves(norms, factors, [measure(*clouds(means, 0.0), names) for means in grown])
    norms.set(xlabel="its length over the others'")
    shares = np.linspace(0, 0.95, 10)
    results = []
    for share in shares:
        means = frame()
        means[1] += share * (means[0] - means[1])
        results.append(measure(*clouds(means, 0.0), names))
    curves(angles, shares, results)
    angles.set(xlabel="share of the way")
    lengths = np.linspace(0, 3, 10)
    moved = [frame() + length * np.eye(WIDTH)[CLASSES] for length in lengths]
    curves(offset, lengths, [measure(*clouds(means, 0.0), names) for means in moved])
    offset.set(xlabel="length of the vector")
    return with_legend(figure, [norms, angles, offset])


def classifier() -> Figure:
    """NC3: a classifier turned away from the class means, and one with rows of other lengths."""
    figure, (turn, lengths) = panels("the classifier turns away", "one row of the classifier grows")
    names = ("self_duality", "weight_alignment")
    means = frame(3, 3) @ Rotation.random(random_state=0).as_matrix()
    features, labels = clouds(means, 0.0)
    # A turn about an axis in the plane of the class means takes their plane out of itself.
    axis = means[0] / np.linalg.norm(means[0])
    degrees = np.linspace(0, 90, 10)
    turned = [means @ Rotation.from_rotvec(np.radians(angle) * axis).as_matrix().T for angle in degrees]
    curves(turn, degrees, [measure(features, labels, names, next_map=weight) for weight in turned])
    turn.set(xlabel="degrees")
    factors = np.linspace(1, 4, 10)
    grown = [np.concatenate([means[:1] * factor, means[1:]]) for factor in factors]
    curves(lengths, factors, [measure(features, labels, names, next_map=weight) for weight in grown])
    lengths.set(xlabel="its length over the others'")
    return with_legend(figure, [turn, lengths])


def decisions() -> Figure:
    """NC4 and the probe: growing noise, and classes that no mean can tell apart."""
    figure, (noise, stretched) = panels("noise in all directions", "a wide direction without classes")
    names = ("ncc_error", "probe_error", "ncc_mismatch")

    def both(means: np.ndarray, level: float, stretch: float) -> dict[str, float]:
        features, labels = clouds(means, level)
        features[:, -1] *= stretch
        # The network decides by the best linear map: by the class mean nearest once every direction is as wide.
        scaled = features / np.r_[np.ones(WIDTH - 1), stretch]
        predicted = np.linalg.norm(scaled[:, None] - means, axis=2).argmin(1)
        return measure(features, labels, names, predictions=predicted)

    levels = np.linspace(0.5, 8, 10)
    curves(noise, levels, [both(frame(), level, 1.0) for level in levels])
    noise.set(xlabel="noise over distance to the mean", ylim=(-0.02, 0.8))
    tilted = frame()
    tilted[:, -1] = np.linspace(-0.3, 0.3, CLASSES)
    stretches = np.logspace(0, 2, 10)
    curves(stretched, stretches, [both(tilted, 2.0, stretch) for stretch in stretches])
    stretched.set(xscale="log", xlabel="its width over the others'", ylim=(-0.02, 0.8))
    return with_legend(figure, [noise, stretched])


def directions() -> Figure:
    """Ranks: a spectrum that falls faster, and one direction that outgrows the rest."""
    figure, (decay, single) = panels("eigenvalues fall faster", "one direction outgrows the rest")
    names = ("stable_rank", "effective_rank", "participation_ratio", "numerical_rank")

    def ranks(deviations: np.ndarray) -> dict[str, float]:
        drawn = np.random.default_rng(0).standard_normal((400, WIDTH))
        # Uncorrelated to the last digit, so that the eigenvalues are the squared deviations.
        whitened = np.linalg.svd(drawn - drawn.mean(0), full_matrices=False)[0] * np.sqrt(len(drawn))
        return measure(whitened * deviations, np.arange(len(drawn)) % 2, names)

    powers = np.linspace(0, 3, 10)
    curves(decay, powers, [ranks(np.arange(1, WIDTH + 1) ** (-power / 2)) for power in powers])
    decay.set(xlabel="power of the decay", ylim=(0, WIDTH + 1))
    factors = np.logspace(0, 2, 10)
    curves(single, factors, [ranks(np.r_[np.sqrt(factor), np.ones(WIDTH - 1)]) for factor in factors])
    single.set(xscale="log", xlabel="its variance over the others'", ylim=(0, WIDTH + 1))
    return with_legend(figure, [decay, single])


def maps() -> Figure:
    """Weights: a map that loses directions, and one that turns away from the map before it."""
    figure, (decay, turn) = panels("singular values fall faster", "the next map turns away")

    def of(reading: np.ndarray, giving: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        return {name: float(compute(get(name), {"weights": Weights(reading, giving)}, 0)) for name in names}

    powers = np.linspace(0, 2, 10)
    falling = [np.diag(np.arange(1.0, WIDTH + 1) ** -power) for power in powers]
    curves(decay, powers, [of(matrix, matrix, ("weight_stable_rank", "condition_number")) for matrix in falling])
    decay.set(yscale="log", xlabel="power of the decay")
    degrees = np.linspace(0, 90, 10)
    turned = [np.array([[np.cos(angle), np.sin(angle)]]) for angle in np.radians(degrees)]
    before = np.array([[1.0], [0.0]])
    curves(turn, degrees, [of(row, before, ("balancedness",)) for row in turned], skip=2)
    turn.set(xlabel="degrees")
    return with_legend(figure, [decay, turn])


def transfer() -> Figure:
    """Transferability: growing noise, and an offset that only one of them sees."""
    figure, (noise, few, offset) = panels(
        "noise in all directions", "few samples, no classes", "all features move by one vector"
    )
    names = ("h_score", "logme")
    levels = np.logspace(-1, 1, 10)
    curves(noise, levels, [measure(*clouds(frame(), level), names) for level in levels])
    noise.set(xscale="log", xlabel="noise over distance to the mean")
    counts = np.array([2, 3, 5, 10, 20, 50, 100, 200])
    curves(few, counts, [measure(*clouds(np.zeros((CLASSES, WIDTH)), 1.0, per_class=count), names) for count in counts])
    few.set(xscale="log", xlabel="samples of a class")
    lengths = np.linspace(0, 3, 10)
    moved = [frame() + length * np.eye(WIDTH)[CLASSES] for length in lengths]
    curves(offset, lengths, [measure(*clouds(means, 1.0), names) for means in moved])
    offset.set(xlabel="length of the vector")
    return with_legend(figure, [noise, few, offset])


#: The pictures, by the name of their file.
PICTURES: dict[str, Callable[[], Figure]] = {
    "metrics_variability": variability,
    "metrics_geometry": geometry,
    "metrics_classifier": classifier,
    "metrics_decisions": decisions,
    "metrics_directions": directions,
    "metrics_maps": maps,
    "metrics_transfer": transfer,
}


def draw_all(folder: Path) -> list[Path]:
    """Draw every picture into a folder; gives the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, picture in PICTURES.items():
        figure = picture()
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=110, metadata={"Software": None})
        plt.close(figure)
        files.append(path)
    return files


if __name__ == "__main__":
    for path in draw_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"):
        print(path)
