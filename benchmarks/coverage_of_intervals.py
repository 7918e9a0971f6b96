"""How often the 95% interval of a metric (`layerwise.interval`) holds the truth.

    python -m benchmarks.coverage_of_intervals [--repeats 400] [--classes 5] [--width 16] [--apart 1] [--groups 10]
        [--tails 3] [--samples 20 50 200] [--debiased]

Gaussian classes, or with `--tails` classes of Student's t with so many degrees of freedom, whose means, covariance and
so metrics are known; a profile of new samples of them each time, with and without `debiased`. The truth of `ncc_error`,
on a test split, is that of the true class means. What lies outside 90% to 98% is marked; in brackets stands how often
the interval without the bias would, `x - t se` to `x + t se`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import layerwise as lw
from layerwise.metrics import compute, convention, get
from layerwise.statistics import Centers, Moments, NearestCenters, Span

SAMPLES = (5, 10, 20, 50, 200)
METRICS = ("nc1", "nc1_trace", "cdnv", "separation", "vci", "equinorm", "equiangularity", "max_angle", "etf_error")
OTHERS = ("hyperspherical_energy", "h_score", "stable_rank", "effective_rank", "participation_ratio", "ncc_error")
BOUNDS = (0.90, 0.98)
MANY = 20_000


@dataclass(frozen=True)
class Classes:
    """Classes of independent features: means ``(C, d)``, and the standard deviation of every feature ``(d,)``.

    Gaussian, or Student's t with `tails` degrees of freedom.
    """

    means: np.ndarray
    spread: np.ndarray
    tails: float | None = None

    def draw(self, each: int, generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """So many samples of each class."""
        labels = generator.permutation(np.repeat(np.arange(len(self.means)), each))
        shape = (len(labels), len(self.spread))
        if self.tails is None:
            noise = generator.standard_normal(shape)
        else:
            noise = generator.standard_t(self.tails, shape) * np.sqrt(1 - 2 / self.tails)
        return torch.from_numpy(self.means[labels] + self.spread * noise), torch.from_numpy(labels)

    def truth(self, generator: np.random.Generator) -> dict[str, float]:
        """Every metric of the classes themselves, from their own moments."""
        count, total = len(self.means), float((self.spread**2).sum())
        moments = Moments(
            classes=np.arange(count),
            counts=np.full(count, 1.0),
            means=self.means,
            variances=np.full(count, total),
            norm=np.nan,
            within=np.diag(self.spread**2),
            squares=(self.means**2).mean(0) + self.spread**2,
            noise=0.0,
        )
        centers = Centers.of(moments, count)
        basis = centers.basis.numpy()
        within = basis @ moments.within @ basis.T
        features, labels = (values.numpy() for values in self.draw(MANY, generator))
        nearest = (-2 * features @ self.means.T + (self.means**2).sum(1)).argmin(1)
        evidence = {
            "moments": moments,
            "covariance": moments,
            "span": Span(centers.centered.numpy(), within, within),
            "nearest": NearestCenters(
                np.bincount(labels), np.bincount(labels[nearest != labels], minlength=count), None, count
            ),
            "convention": convention("default"),
        }
        return {name: float(compute(get(name), evidence, count)) for name in (*METRICS, *OTHERS)}


def measured(classes: Classes, each: int, repeats: int, groups: int, *, debiased: bool) -> dict[str, np.ndarray]:
    """Of every metric the interval with and without its bias, on a test split for `ncc_error`: ``(repeats, 2, 2)``."""
    generator = np.random.default_rng(each)
    network = nn.Sequential(nn.Identity())
    found: dict[str, list[list[list[float]]]] = {name: [] for name in (*METRICS, *OTHERS)}
    for _ in range(repeats):
        splits = {name: [classes.draw(each, generator)] for name in ("train", "test")}
        ds = lw.profile(network, splits, layers="leaves", metrics=list(found), jackknife=groups, debiased=debiased)
        for name, rows in found.items():
            at = ds.sel(split="test" if name == "ncc_error" else "train").squeeze()
            both = (lw.interval(at, name), lw.interval(at.drop_vars(f"{name}_bias", errors="ignore"), name))
            rows.append([[float(own["low"]), float(own["high"])] for own in both])
    return {name: np.array(rows) for name, rows in found.items()}


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--apart", type=float, default=1.0, help="Standard deviation of the class means.")
    parser.add_argument("--groups", type=int, default=10)
    parser.add_argument("--tails", type=float, help="Degrees of freedom of Student's t, above 2; Gaussian by default.")
    parser.add_argument("--samples", type=int, nargs="+", default=SAMPLES, help="Samples of a class.")
    parser.add_argument("--debiased", action="store_true", help="Only with `debiased`, not without too.")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    means = options.apart * generator.standard_normal((options.classes, options.width))
    classes = Classes(means, np.linspace(0.5, 1.5, options.width), options.tails)
    truth = classes.truth(generator)
    print(f"coverage over {options.repeats} repeats, in %; (without the bias)")
    print("samples of a class".rjust(40) + "".join(f"{each:>12}" for each in options.samples))
    for debiased in (True,) if options.debiased else (False, True):
        columns = [
            measured(classes, each, options.repeats, options.groups, debiased=debiased) for each in options.samples
        ]
        for name in ("nc1", "nc1_trace", "cdnv", "vci", "h_score") if debiased else (*METRICS, *OTHERS):
            said = name + (", debiased" if debiased else "")
            print(f"{said:<24}{f'truth {truth[name]:.3g}':>16}", end="")
            for edges in (column[name] for column in columns):
                held, without = ((edges[..., 0] <= truth[name]) & (truth[name] <= edges[..., 1])).mean(0)
                mark = " " if BOUNDS[0] <= held <= BOUNDS[1] else "!"
                print(f"{f'{100 * held:.0f}{mark} ({100 * without:.0f})':>12}", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
