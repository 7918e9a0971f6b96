"""Whether the memory of a profile grows with the data: the peak over 4 N samples, as a ratio to that over N.

    python -m benchmarks.memory [--samples 64] [--model resnet18] [--reduce flatten]

Each peak is that of a process of its own (its resident memory), since a process never gives all of it back. Pictures
are made when they are asked for, so that none of the memory is the data's.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import timm
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from layerwise.profiling import profile

BOUND = 1.05


class Noise(Dataset[tuple[Tensor, int]]):
    """Pictures of noise at 224 pixels, the same at every run, of ten classes in turn."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index >= self.samples:
            raise IndexError(index)
        return torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(index)), index % 10


def peak(samples: int, model: str, reduce: str) -> int:
    """Profile in this process, and give its peak of resident memory in bytes."""
    torch.manual_seed(0)
    network = timm.create_model(model, num_classes=10).eval()
    profile(network, {"train": DataLoader(Noise(samples), batch_size=16)}, reduce=reduce)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Measure both, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--reduce", default="flatten")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(peak(options.samples, options.model, options.reduce))
        return 0
    peaks = []
    for samples in (options.samples, 4 * options.samples):
        words = ["--alone", f"--samples={samples}", f"--model={options.model}", f"--reduce={options.reduce}"]
        command = [sys.executable, "-m", "benchmarks.memory", *words]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        print(
            f"{options.model}, reduce={options.reduce}, {samples} samples: peak {peaks[-1] / 2**20:.0f} MiB", flush=True
        )
    ratio = peaks[1] / peaks[0]
    print(f"4 N over N: {ratio:.3f} (bound {BOUND})")
    return int(ratio > BOUND)


if __name__ == "__main__":
    sys.exit(main())
