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

from layerwise import profile
from layerwise import similarity as layer_similarity
from layerwise.metrics import compute, convention, get
from layerwise.network.graph.map_weights import Weights
from layerwise.plot import similarity_heatmap
from layerwise.statistics import (
    CenterProjections,
    Centers,
    ClassMoments,
    ProbeErrors,
    TargetAccumulator,
    fit_readout,
    fit_ridge,
)
from layerwise.theory import Frame

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
    expected: Frame | None = None,
) -> dict[str, np.ndarray]:
    """Metrics of features and labels, through the library's own statistics."""
    given, classes = torch.from_numpy(features), torch.from_numpy(labels)
    accumulated = ClassMoments(scatter=True)
    accumulated.update(given, classes)
    moments = accumulated.finish()
    ridge = fit_ridge(moments, 1e-3)
    centers = Centers.of(moments, int(labels.max()) + 1).beside(torch.from_numpy(ridge.weight))
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
        "frame": expected,
    }
    return {name: compute(get(name), evidence, len(moments.classes)) for name in names}


def curves(ax: Axes, places: Sequence[float], results: Sequence[Mapping[str, Any]], *, skip: int = 0) -> None:
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


def with_legends(figure: Figure, axes: Sequence[Axes]) -> Figure:
    """The figure with a legend in each of its Axes, which show different metrics."""
    for ax in axes:
        ax.legend(fontsize=7, frameon=False)
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
    """NC1: growing noise, one short class direction, and few samples; the logarithm in a panel of its own."""
    figure, (noise, narrow, wide, logarithm) = panels(
        "noise in all directions", "one narrow class direction", "few samples, no classes", "noise in all directions"
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
    own = [measure(*clouds(frame(), level), ("separation",)) for level in levels]
    curves(logarithm, levels, own, skip=4)
    logarithm.set(xscale="log", xlabel="noise over distance to the mean")
    return with_legend(figure, [noise, narrow, wide, logarithm])


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


def imbalance() -> Figure:
    """Unequal classes: rare ones that merge, a frame of unequal norms, and numbers class by class."""
    figure, (merging, norms, classes) = panels(
        "three rare classes draw together", "three class means grow", "eight classes, long-tailed"
    )
    labels = np.repeat(np.arange(6), [60] * 3 + [10] * 3)
    shares = np.linspace(0, 0.95, 10)
    results = []
    for share in shares:
        means = frame(6)
        means[3:] += share * (means[3:].mean(0) - means[3:])
        results.append(measure(means[labels], labels, ("majority_cosine", "minority_cosine", "hyperspherical_energy")))
    curves(merging, shares, results)
    merging.set(xlabel="share of the way")
    factors = np.linspace(1, 4, 13)
    expected = Frame(np.diag([4.0] * 3 + [1.0] * 3))
    grown = [np.eye(6, WIDTH) * np.r_[[factor] * 3, [1.0] * 3][:, None] for factor in factors]
    own = [measure(means[labels], labels, ("frame_distance",), expected=expected) for means in grown]
    curves(norms, factors, own, skip=3)
    norms.set(xlabel="their length over the others', 2 being expected")
    counts = np.array([512, 256, 128, 64, 32, 16, 8, 4])
    labels = np.repeat(np.arange(8), counts)
    noise = np.random.default_rng(0).standard_normal((len(labels), WIDTH)) / np.sqrt(WIDTH)
    features = (frame(8) * (counts[:, None] / 512) ** 0.15)[labels] + 1.5 * noise
    names = ("class_norm", "class_variance", "class_ncc_error")
    found = measure(features, labels, (*names, "class_count"))
    curves(classes, found["class_count"], [{name: found[name][c] for name in names} for c in range(8)])
    classes.set(xscale="log", xlabel="samples of the class (class_count)")
    return with_legends(figure, [merging, norms, classes])


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

    def both(means: np.ndarray, level: float, stretch: float) -> dict[str, np.ndarray]:
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
    """Ranks: a spectrum that falls faster, one direction that outgrows the rest, and class means that merge."""
    figure, (decay, single, merged) = panels(
        "eigenvalues fall faster", "one direction outgrows the rest", "class means merge on the first"
    )
    names = ("stable_rank", "effective_rank", "participation_ratio", "numerical_rank")

    def ranks(deviations: np.ndarray) -> dict[str, np.ndarray]:
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
    counts = np.arange(1, CLASSES)
    own = [frame()[np.r_[[0] * count, count:CLASSES]] for count in counts]
    curves(merged, counts, [measure(*clouds(means, 0.0), ("between_rank", "feature_norm")) for means in own])
    merged.set(xlabel="classes that share the mean", xticks=counts, ylim=(0, CLASSES))
    return with_legends(figure, [decay, single, merged])


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


def regression() -> Figure:
    """NRC: growing noise, a next map and a head that turn away, and targets of two directions."""
    figure, (noise, evidence, turn, rank) = panels(
        "noise in all directions",
        "noise in all directions",
        "the next map and the head turn away",
        "eight targets in two directions",
    )
    generator = np.random.default_rng(0)
    targets = generator.standard_normal((400, 2)) @ np.diag([1.5, 1.0])
    spread = generator.standard_normal((400, WIDTH)) / np.sqrt(WIDTH)

    def of(features: np.ndarray, targets: np.ndarray, names: Sequence[str], head: np.ndarray) -> dict[str, np.ndarray]:
        accumulated = TargetAccumulator()
        accumulated.update(torch.from_numpy(features), torch.from_numpy(targets))
        moments = accumulated.finish()
        held = {"regression": moments, "readout": fit_readout(moments), "head": head, "next_map": head}
        return {name: compute(get(name), held, 0) for name in names}

    levels = np.logspace(-2, 1, 12)
    plane = np.eye(2, WIDTH)
    names = ("nrc1", "nrc1_normalized", "nrc2_cka", "linear_mse", "linear_r2")
    curves(noise, levels, [of(targets @ plane + level * spread, targets, names, plane) for level in levels])
    noise.set(xscale="log", xlabel="noise over a target's spread")
    noisy = [of(targets @ plane + level * spread, targets, ("linear_logme",), plane) for level in levels]
    curves(evidence, levels, noisy)
    evidence.set(xscale="log", xlabel="noise over a target's spread")
    collapsed = targets @ plane + 0.1 * spread
    # The root of the targets' covariance is what the Gram matrix of the head comes to.
    root = np.linalg.cholesky(np.linalg.cholesky(np.cov(targets.T, ddof=0))).T
    degrees = np.linspace(0, 90, 10)
    results = []
    for angle in np.radians(degrees):
        out = np.cos(angle) * np.eye(2, WIDTH) + np.sin(angle) * np.eye(2, WIDTH, 2)
        within = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turned = of(collapsed, targets, ("nrc2", "nrc3_alignment"), out)
        results.append(turned | of(collapsed, targets, ("nrc3",), within.T @ root.T @ plane))
    curves(turn, degrees, results)
    turn.set(xlabel="degrees")
    few = targets @ np.linalg.qr(generator.standard_normal((8, 2)))[0].T
    names = ("target_rank", "target_dimensions")
    wide = few @ np.eye(8, WIDTH)
    levels = np.logspace(-1, 0.3, 10)
    curves(rank, levels, [of(wide + level * spread, few, names, np.eye(8, WIDTH)) for level in levels])
    rank.set(xscale="log", xlabel="noise over a target's spread")
    return with_legends(figure, [noise, evidence, turn, rank])


def complexity() -> Figure:
    """Change with the input: weights that grow under an activation, and the error of random directions."""
    figure, (weights, directions) = panels("weights of a layer with tanh grow", "more random directions")
    labels = torch.arange(200) % 2
    inputs = 0.5 * torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(0))
    inputs[:, 0] += 3 * labels

    def measured(scale: float, along: int | str) -> dict[str, float]:
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH, bias=False), torch.nn.Tanh()).eval()
        network[0].weight.data *= scale
        ds = profile(network, [(inputs, labels)], layers=["1"], metrics="*geometric_complexity*", directions=along)
        at = ds.isel(epoch=0, split=0, target=0, layer=0)
        of_classes = at["class_geometric_complexity"].values
        return {
            "geometric_complexity": float(at["geometric_complexity"]),
            "class_geometric_complexity, class at zero": of_classes[0],
            "class_geometric_complexity, the other": of_classes[1],
            "geometric_complexity_se": float(at["geometric_complexity_se"]),
        }

    scales = np.logspace(-0.5, 1, 8)
    grown = [measured(scale, "exact") for scale in scales]
    curves(weights, scales, [{name: own[name] for name in list(own)[:3]} for own in grown])
    weights.set(xscale="log", yscale="log", xlabel="factor of the weights")
    counts = [2, 4, 8, 16, 32]
    error = "geometric_complexity_se"
    curves(directions, counts, [{error: measured(1.0, count)[error]} for count in counts], skip=3)
    directions.set(xlabel="directions a sample", ylim=(0, None))
    return with_legends(figure, [weights, directions])


def similarity() -> Figure:
    """CKA between the layers of one network, and with one whose later layers were drawn anew."""
    figure, axes = panels("of one network", "with one that shares half of its layers")
    features, labels = clouds(frame(), 1.0)
    data = [(torch.from_numpy(features).float(), torch.from_numpy(labels))]

    def drawn(seeds: Sequence[int]) -> torch.nn.Sequential:
        layers = [torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in seeds]
        for seed, layer in zip(seeds, layers, strict=True):
            torch.manual_seed(seed)
            torch.nn.init.orthogonal_(layer.weight, 3.0)
        return torch.nn.Sequential(*(torch.nn.Sequential(layer, torch.nn.Tanh()) for layer in layers))

    network = drawn(range(8))
    for ax, other in zip(axes, (None, drawn([*range(4), *range(14, 18)])), strict=True):
        title = ax.get_title()
        similarity_heatmap(layer_similarity(network, data, other), ax=ax)
        ax.set_title(title, loc="left", fontsize=9)
        ax.set_title("")
    return figure


#: The pictures, by the name of their file.
PICTURES: dict[str, Callable[[], Figure]] = {
    "metrics_variability": variability,
    "metrics_geometry": geometry,
    "metrics_imbalance": imbalance,
    "metrics_classifier": classifier,
    "metrics_decisions": decisions,
    "metrics_directions": directions,
    "metrics_maps": maps,
    "metrics_transfer": transfer,
    "metrics_regression": regression,
    "metrics_complexity": complexity,
    "metrics_similarity": similarity,
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
