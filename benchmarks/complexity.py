"""What geometric complexity costs, against the usual loop of backward passes, in the same process.

    python -m benchmarks.complexity [--size 64] [--samples 64] [--directions 8] [--repeats 3] [--device cpu]

ResNet-18 with all of its blocks, as many random directions each way. The usual loop takes a forward and a backward pass
for every layer and direction; a thriftier one keeps the graph of a single forward for all of them. The median of the
ratios within a repeat is printed, and how far the numbers are apart, in standard errors of their difference.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.speed import images, seconds
from layerwise.adapters.protocol import Batch
from layerwise.features.derivatives.directions import directions_of
from layerwise.features.derivatives.forward_mode import differentiating
from layerwise.features.reading import LayerReading
from layerwise.network.network import Network
from layerwise.profiling import Profiler
from layerwise.settings import Settings

BOUND = 10.0
BATCH = 32

#: Mean over the samples, and its standard error from the random directions, by layer.
Estimate = tuple[np.ndarray, np.ndarray]


def forward_mode(network: Network, readings: Sequence[LayerReading], pictures: Tensor, directions: int) -> Estimate:
    """Every layer from the same forwards."""
    found = []
    with differentiating(network, readings, directions_of(directions, 0)) as derive:
        for inputs in pictures.split(BATCH):
            labels = torch.zeros(len(inputs), dtype=torch.int64)
            found.append(derive(Batch(inputs, {"label": labels}, len(inputs))))
    squares = [torch.cat([part[reading.name][0] for part in found]) for reading in readings]
    errors = [torch.cat([part[reading.name][1] for part in found]) for reading in readings]
    return (
        np.array([float(values.mean()) for values in squares]),
        np.array([float(values.sum()) ** 0.5 / len(values) for values in errors]),
    )


def backward_mode(
    network: Network, readings: Sequence[LayerReading], pictures: Tensor, directions: int, keep: bool
) -> Estimate:
    """A backward pass for every layer and direction (Hutchinson): ``E ||J^T u||^2`` for signs ``u``."""
    generator = torch.Generator().manual_seed(1)
    parts = []
    for inputs in pictures.split(BATCH):
        found = torch.empty(len(readings), directions, len(inputs), dtype=torch.float64)
        graph = features_with_graph(network, readings, inputs) if keep else None
        for row, reading in enumerate(readings):
            for probe in range(directions):
                image, features = graph or features_with_graph(network, readings, inputs)
                value = features[reading.name]
                signs = (2 * torch.randint(0, 2, value.shape, generator=generator) - 1).to(value)
                (gradient,) = torch.autograd.grad(value, image, signs, retain_graph=keep)
                found[row, probe] = gradient.flatten(1).double().square().sum(1)
        parts.append(found)
    whole = torch.cat(parts, 2)
    return whole.mean((1, 2)).numpy(), (whole.var(1) / directions).sum(1).sqrt().div(whole.shape[2]).numpy()


def features_with_graph(
    network: Network, readings: Sequence[LayerReading], inputs: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The input and every layer's features, mean over positions, with the graph between them."""
    taken: dict[str, Tensor] = {}
    image = inputs.clone().requires_grad_()

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _args: object, output: Tensor) -> None:
            taken[name] = output.mean((2, 3)) if output.ndim == 4 else output.clone()

        return hook

    handles = [
        network.model.get_submodule(reading.layer.path).register_forward_hook(keep(reading.name))
        for reading in readings
    ]
    network.model(image)
    for handle in handles:
        handle.remove()
    return image, taken


def main() -> None:
    """Time, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--directions", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    model, batches = images("resnet18", options.samples, options.device)
    model.requires_grad_(False)
    pictures = torch.cat([inputs for inputs, _ in batches])[..., : options.size, : options.size].contiguous()
    profiler = Profiler(model, [(pictures[:2], torch.arange(2))], settings=Settings(metrics="geometric_complexity"))
    network = profiler.network
    readings = [reading for reading in profiler.readings if reading.layer.side == "output"]
    directions = options.directions

    def bare() -> None:
        with torch.no_grad():
            for inputs in pictures.split(BATCH):
                model(inputs)

    ways: dict[str, Callable[[], Estimate]] = {
        "forward mode": lambda: forward_mode(network, readings, pictures, directions),
        "a forward and a backward pass for every layer and direction": lambda: backward_mode(
            network, readings, pictures, directions, False
        ),
        "one graph, a backward pass for every layer and direction": lambda: backward_mode(
            network, readings, pictures, directions, True
        ),
    }
    bare()
    ways["forward mode"]()
    found: dict[str, Estimate] = {}
    times: dict[str, list[float]] = {way: [] for way in ways}
    forward: list[float] = []
    for _ in range(options.repeats):
        forward.append(seconds(bare, options.device))
        for way, run in ways.items():
            times[way].append(seconds(lambda run=run, way=way: found.update({way: run()}), options.device))
    print(
        f"ResNet-18 at {options.size} pixels, {len(readings)} layers, {options.samples} samples, "
        f"{directions} directions; "
        f"a bare forward takes {statistics.median(forward):.2f} s"
    )
    mean, error = found["forward mode"]
    cost = statistics.median(own / bare for own, bare in zip(times["forward mode"], forward, strict=True))
    print(f"  forward mode: {cost:.1f} forwards, standard error {(error / mean).max():.1%} or less")
    for way in list(ways)[1:]:
        ratios = [other / own for other, own in zip(times[way], times["forward mode"], strict=True)]
        apart = np.abs(found[way][0] - mean) / np.hypot(found[way][1], error)
        bound = f" (bound {BOUND:.0f})" if way.startswith("a ") else ""
        print(f"  {way}: {statistics.median(ratios):.1f} times as long{bound}; {apart.max():.1f} standard errors apart")


if __name__ == "__main__":
    main()
