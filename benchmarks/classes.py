"""What many classes take: time and peak memory of a profile with every metric, beside what the planner foresees.

    python -m benchmarks.classes [--classes 1000 --width 2048 --samples 4000]

Without options, 1,000 classes at width 2,048 and 50,000 classes at width 576 (the vocabulary and the width of a small
language model). Every peak is that of a process of its own, less what it had before the profile began. It is bad if a
peak is beyond the forecast (exit code 1). Linux only: the peak is read from ``/proc``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from layerwise.profiling import Profiler
from layerwise.runtime.byte_sizes import readable
from layerwise.settings import Settings

CASES = ((1_000, 2_048, 4_000), (50_000, 576, 60_000))
BATCH = 500

# The number of that setting in malloc.h.
_MMAP_THRESHOLD = -3


class Noise:
    """Batches of features, drawn anew in every run: class means and noise about them."""

    def __init__(self, classes: int, width: int, samples: int) -> None:
        self.classes = classes
        self.width = width
        self.samples = samples

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        means = torch.randn(self.classes, self.width, generator=torch.Generator().manual_seed(0))
        noise = torch.Generator().manual_seed(1)
        for start in range(0, self.samples, BATCH):
            labels = torch.arange(start, min(start + BATCH, self.samples)) % self.classes
            yield means[labels] + torch.randn(len(labels), self.width, generator=noise), labels


def measure(classes: int, width: int, samples: int) -> dict[str, float]:
    """Profile one layer in this process."""
    # What a profile loads is no part of what it takes.
    profile_noise(10, 16, 100).measure()
    profiler = profile_noise(classes, width, samples)
    started = time.perf_counter()
    taken = peak_of(profiler.measure)
    plan = profiler.plan
    return {
        "seconds": time.perf_counter() - started,
        # The data's own class means are no part of what is measured.
        "taken": taken - 4 * classes * width,
        "forecast": plan.statistics_bytes + plan.finishing_bytes + plan.cache_bytes,
    }


def profile_noise(classes: int, width: int, samples: int) -> Profiler:
    """The profile of one layer that gives the noise as it is."""
    network = nn.Sequential(nn.Identity(), nn.Linear(width, 2)).eval()
    return Profiler(
        network, {"train": Noise(classes, width, samples)}, settings=Settings(layers=["0"], classes=classes)
    )


def peak_of(run: Callable[[], object]) -> int:
    """Bytes of resident memory that something takes at its peak, beyond what there was.

    Meanwhile the C library gives arrays back when they are freed, so that none that are gone are counted.
    """
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_THRESHOLD, 1 << 16)
    library.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    run()
    library.mallopt(_MMAP_THRESHOLD, 1 << 25)
    return resident("VmHWM") - before


def resident(entry: str) -> int:
    """Resident memory of this process in bytes, now (``VmRSS``) or at its peak (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{entry}:"))


def main() -> int:
    """Measure every case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int)
    parser.add_argument("--width", type=int, default=576)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    if options.alone:
        print(json.dumps(measure(options.classes, options.width, options.samples)))
        return 0
    cases = [(options.classes, options.width, options.samples or 3 * options.classes)] if options.classes else CASES
    beyond = False
    for classes, width, samples in cases:
        words = ["--alone", f"--classes={classes}", f"--width={width}", f"--samples={samples}"]
        command = [sys.executable, "-m", "benchmarks.classes", *words]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        ratio = found["taken"] / found["forecast"]
        beyond |= ratio > 1
        print(
            f"{classes:,} classes at width {width:,}, {samples:,} samples: {readable(found['taken'])} taken, "
            f"{readable(found['forecast'])} foreseen, ratio {ratio:.2f} (bound 1), {found['seconds']:.0f} s",
            flush=True,
        )
    return int(beyond)


if __name__ == "__main__":
    sys.exit(main())
