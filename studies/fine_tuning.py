"""Fine-tuning collapses the last blocks of a pretrained transformer and leaves the geometry of the first ones.

- Paper: no single one; it is asked of fine-tuned foundation models which layers change, where collapse begins, and how
  far the early layers keep the geometry of the source, when the head, LoRA or all weights are trained.
- Measured: linear CKA of every block with the same block of the pretrained network on test sentences; `nc1_trace` and
  `ncc_error` of every block's class token, on movie-review sentences.
- Refuted if: the blocks of the first half change as much as those of the second, the last block is not collapsed
  further than in the pretrained network, no block has a training `ncc_error` of .02 or less from there on (the
  effective depth of Galanti 2022), or LoRA changes the network more than all weights do. Otherwise there are no bounds
  in the literature, so it is signs that are judged.
- Negative control: training the head alone, where CKA has to be 1 and `nc1_trace` that of the pretrained network.
- Tried: five epochs, where LoRA, at three times the learning rate, got 9 to 16% of its training sentences wrong and no
  block to .02, and changed the network more than all weights did for two seeds of five.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import xarray as xr

from layerwise.data import read
from layerwise.derive import effective_depth
from layerwise.profiling import profile
from layerwise.profiling.similarity import similarity
from layerwise.studies.data import Splits
from layerwise.studies.data.places import locate
from layerwise.studies.frame import Claim, Seed, claim, over_seeds, side_by_side
from layerwise.studies.frame.ticks import tick_layers
from layerwise.studies.networks.pretrained import SentenceClassifier, tokens_of
from layerwise.studies.training import Recipe, train

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "claims", "figure", "run"]

#: What is trained.
ARMS = {"pretrained": "pretrained", "frozen": "head only (control)", "lora": "LoRA", "full": "all weights"}

_TRAINED = {"frozen": "head", "lora": "lora", "full": "all"}
_BLOCKS = "model.bert.encoder.layer.*"


def _recipe(learning_rate: float, epochs: int = 5) -> Recipe:
    return Recipe(epochs=epochs, batch_size=16, learning_rate=learning_rate, weight_decay=0.01, optimiser="adamw")


@dataclass(frozen=True)
class Settings:
    """A sentence transformer on movie reviews.

    Attributes
    ----------
    model : str
        ``"minilm"``, or what transformers can load, of the BERT family.
    samples : int
        Sentences to train on, and as many to test on; which they are is drawn by the seed.
    length : int
        Tokens of a sentence that are kept.
    rank : int
        Of LoRA.
    frozen, lora, full : Recipe
    """

    model: str = "minilm"
    data: str = "movie-reviews"
    samples: int = 128
    length: int = 24
    rank: int = 8
    frozen: Recipe = field(default_factory=lambda: _recipe(1e-2))
    lora: Recipe = field(default_factory=lambda: _recipe(1e-3, 15))
    full: Recipe = field(default_factory=lambda: _recipe(3e-4, 15))
    seeds: int = 5


SCALES = {
    "quick": Settings(
        samples=16, length=8, frozen=_recipe(1e-2, 2), lora=_recipe(3e-3, 2), full=_recipe(3e-4, 2), seeds=1
    ),
    "default": Settings(),
    "full": Settings(samples=4000, length=64, lora=_recipe(1e-3, 10), full=_recipe(5e-5, 10), frozen=_recipe(1e-2, 10)),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Fine-tune with each part of the weights, over seeds."""
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    splits = _sentences(settings, seed)
    batches = {split: [(tokens, labels)] for split, (tokens, labels) in splits.items()}
    classes = int(splits["train"][1].max()) + 1
    base = SentenceClassifier(settings.model, classes)
    found = {}
    for arm in ARMS:
        torch.manual_seed(seed.number)
        network = base
        if arm != "pretrained":
            network = SentenceClassifier(settings.model, classes, _TRAINED[arm], settings.rank)
            train(network, *splits["train"], getattr(settings, arm), seed=seed.number)
        ds = profile(network, batches, layers=_BLOCKS, metrics=["nc1_trace", "ncc_error"])
        alike = similarity(network, batches, base, split="test", layers=_BLOCKS)["cka"]
        ds = ds.isel(epoch=0, target=0, drop=True).reset_coords(drop=True)
        blocks = range(1, ds.sizes["layer"] + 1)
        ds = ds[["nc1_trace", "ncc_error", "network_error"]].assign_coords(layer=blocks)
        found[arm] = ds.assign(base_cka=("layer", alike.values.diagonal()))
    return side_by_side(found, "arm")


def _sentences(settings: Settings, seed: Seed) -> Splits:
    """A draw of each split, as token numbers."""
    generator = torch.Generator().manual_seed(seed.number)
    splits: Splits = {}
    for split, rows in read(locate(settings.data)).splits.items():
        places = torch.randperm(len(rows), generator=generator)[: settings.samples].tolist()
        texts, labels = zip(*(rows[place] for place in places), strict=True)
        splits[split] = (tokens_of(settings.model, texts, settings.length), torch.tensor(labels))
    return splits


def claims(ds: xr.Dataset) -> list[Claim]:
    """Fine-tuning changes the last blocks most and collapses them; LoRA changes less; a frozen body nothing."""
    cka, half = ds["base_cka"], ds.sizes["layer"] // 2
    lost = cka.isel(layer=slice(half)).mean("layer") - cka.isel(layer=slice(half, None)).mean("layer")
    variability = ds["nc1_trace"].sel(split="train").isel(layer=-1)
    against = variability / variability.sel(arm="pretrained")
    begins = effective_depth(ds, eps=0.02).sel(split="train") + 1
    found = []
    for arm in ("lora", "full"):
        name = ARMS[arm]
        found += [
            claim(
                f"{name}: CKA with the pretrained, first half of the blocks less second", lost.sel(arm=arm), ">", 0.0
            ),
            claim(f"{name}: training nc1_trace of the last block over the pretrained", against.sel(arm=arm), "<", 1.0),
            claim(
                f"{name}: first block from which on the training ncc_error is at most .02",
                begins.sel(arm=arm),
                "<=",
                ds.sizes["layer"],
            ),
        ]
    more = cka.sel(arm="lora").mean("layer") - cka.sel(arm="full").mean("layer")
    frozen = cka.sel(arm="frozen").min("layer")
    return [
        *found,
        claim("CKA with the pretrained, mean over blocks, LoRA less all weights", more, ">", 0.0),
        claim("head only: least CKA with the pretrained", frozen, ">=", 1 - 1e-6, control=True),
        claim(
            "head only: change of the training nc1_trace of the last block, as a share of the pretrained",
            abs(against.sel(arm="frozen") - 1),
            "<=",
            1e-6,
            control=True,
        ),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """CKA with the pretrained network, variability and nearest-mean error over depth: mean and spread over seeds."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(8.8, 2.8), layout="constrained")
    styles = {"pretrained": ("0.6", "s-"), "frozen": ("C3", "x--"), "lora": ("C0", "o-"), "full": ("C1", "o-")}
    for arm, (colour, line) in styles.items():
        own = ds.sel(arm=arm)
        if arm != "pretrained":
            _draw(panels[0], own["base_cka"], ARMS[arm], colour, line)
        _draw(panels[1], own["nc1_trace"].sel(split="train"), ARMS[arm], colour, line)
        _draw(panels[2], 100 * own["ncc_error"].sel(split="train"), ARMS[arm], colour, line)
    panels[0].set(ylabel="CKA with the pretrained network", ylim=(None, 1.02))
    panels[1].set(ylabel=r"$\mathrm{tr}\,S_W / \mathrm{tr}\,S_B$, train", yscale="log")
    panels[2].set(ylabel="NCC error (%), train", ylim=(0, None))
    for ax in panels:
        ax.set_xlabel("block")
        tick_layers(ax, ds["layer"].values)
    panels[1].legend(fontsize="x-small", frameon=False)
    return figure


def _draw(ax: Axes, values: xr.DataArray, label: str, colour: str, line: str) -> None:
    ax.errorbar(
        values["layer"],
        values.mean("seed"),
        values.std("seed"),
        fmt=line,
        color=colour,
        label=label,
        markersize=3.5,
        linewidth=1.1,
        elinewidth=0.7,
    )
