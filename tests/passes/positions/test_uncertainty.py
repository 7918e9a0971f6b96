"""Standard errors and chance of tokens and pixels: of groups of texts or pictures, and of labels that lie elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from helpers.positions import Segmenter, Tagger, of_pictures, of_texts, pictures, texts
from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.errors import NotRepeatable
from layerwise.passes import PositionShuffles
from layerwise.passes.label_replicates import Places
from layerwise.passes.positions.shuffles import shuffles_of_positions
from layerwise.passes.positions.streams import Stream
from layerwise.passes.request import PassRequest
from layerwise.profiling import profile
from layerwise.settings import Settings

GROUPS, DRAWS = 4, 5
METRICS = ["nc1", "cdnv", "ncc_error", "probe_error", "class_variance", "stable_rank"]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[PositionShuffles]:
    """The shuffles that a profile takes."""
    made: list[PositionShuffles] = []
    start = PositionShuffles.__init__

    def keep(self: PositionShuffles, *words: object) -> None:
        start(self, *words)
        made.append(self)

    monkeypatch.setattr(PositionShuffles, "__init__", keep)
    return made


def network(how: str) -> nn.Module:
    torch.manual_seed(0)
    return (Tagger() if how == "tokens" else Segmenter()).double()


def data(how: str, labels: Tensor | None = None, kept: Tensor | None = None) -> list[object]:
    """Texts or pictures, perhaps with other labels, or some of them."""
    parts = list(texts()) if how == "tokens" else [values.double() for values in pictures(9)]
    parts[-1] = parts[-1].long() if labels is None else labels
    parts = parts if kept is None else [part[kept] for part in parts]
    return list((of_texts if how == "tokens" else of_pictures)(*parts))


def measure(how: str, given: list[object], **options: object) -> xr.Dataset:
    return profile(network(how), given, reduce=how, memory="1GiB", **{"metrics": METRICS, **options})


@pytest.mark.parametrize("second", ["memory", "rerun"])
@pytest.mark.parametrize("how", ["tokens", "pixels"])
def test_an_error_is_that_of_profiles_without_every_fourth_text_or_picture(how, second, monkeypatch):
    if second == "rerun":
        monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
    count = 24 if how == "tokens" else 9
    numbers = torch.arange(count)
    parts = [measure(how, data(how, kept=numbers % GROUPS != group)) for group in range(GROUPS)]
    ds = measure(how, data(how), jackknife=GROUPS)
    for name in [*METRICS, "network_error"]:
        values = np.stack([part[name].values for part in parts])
        expected = np.sqrt((GROUPS - 1) / GROUPS * ((values - values.mean(0)) ** 2).sum(0))
        np.testing.assert_allclose(ds[f"{name}_se"].values, expected, rtol=1e-6, atol=1e-12, err_msg=name)


def assert_chance(ds: xr.Dataset, draws: list[xr.Dataset]) -> None:
    for name in ("nc1", "cdnv", "ncc_error", "probe_error"):
        values = np.stack([draw[name].values for draw in draws])
        for end, expected in (("", values.mean(0)), ("_low", values.min(0)), ("_high", values.max(0))):
            found = ds[f"{name}_null{end}"].values
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12, err_msg=f"{name}{end}")


@pytest.mark.parametrize("second", ["memory", "rerun"])
def test_chance_of_tokens_is_that_of_labels_turned_along_all_texts(taken, second, monkeypatch):
    if second == "rerun":
        monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
    _, mask, labels = texts()
    ds = measure("tokens", data("tokens"), null=DRAWS)
    (shuffles,) = taken
    counts = (mask == 1) & (labels != -100)
    draws = []
    for order in shuffles.orders:
        assert 0 < int(order) < int(counts.sum())
        turned = labels.clone()
        turned[counts] = labels[counts].roll(-int(order))
        draws.append(measure("tokens", data("tokens", turned)))
    assert_chance(ds, draws)


def test_chance_of_pixels_is_that_of_the_maps_of_other_pictures(taken):
    _, labels = pictures(9)
    ds = measure("pixels", data("pixels"), null=DRAWS)
    fine, coarse = taken
    draws = []
    for order, same in zip(fine.orders, coarse.orders, strict=True):
        assert torch.equal(order, same)
        both = (labels != 255) & (labels[order] != 255)
        draws.append(measure("pixels", data("pixels", torch.where(both, labels[order], 255))))
    assert_chance(ds, draws)


@pytest.mark.parametrize("how", ["tokens", "pixels"])
def test_batches_and_drawn_positions_change_no_error_and_no_chance(how):
    given = texts() if how == "tokens" else tuple(pictures(9))
    cut = of_texts if how == "tokens" else of_pictures
    net = network(how).float()
    one, two = (
        profile(
            net,
            cut(*given, size=size),
            reduce=how,
            metrics=["nc1", "ncc_error"],
            jackknife=3,
            null=3,
            samples_per_class=20,
            memory="1GiB",
        )
        for size in (2, 100)
    )
    for name in one.data_vars:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-4, atol=1e-6, err_msg=str(name))
    assert {"nc1_se", "nc1_null_high"} <= set(one)


@pytest.mark.parametrize("how", ["tokens", "pixels"])
def test_processes_have_the_labels_of_the_whole_between_them(how, monkeypatch):
    given = texts() if how == "tokens" else tuple(pictures(9))
    stream = one_stream(how)

    def batch(numbers: Tensor) -> Batch:
        return Batch(None, {"label": given[-1][numbers]}, len(numbers), given[1][numbers] if how == "tokens" else None)

    def shuffled(share: Tensor, places: Places) -> PositionShuffles:
        return shuffles_of_positions(stream.request, [stream], [None], [batch(share)], "train", lambda _: places)[1][0]

    def labels(shuffles: PositionShuffles) -> list[Tensor]:
        return [order["label"][0] for order in shuffles.of({"label": (torch.zeros(0), None)}, 0, shuffles.size)]

    every = torch.arange(len(given[0]))
    shares = [every[rank::2] for rank in range(2)]
    whole = labels(shuffled(every, Places(every, every, 0, False, "")))
    inputs = stream.select(batch(every)).where[0]
    sent: list[object] = []
    monkeypatch.setattr("layerwise.passes.positions.shuffles.all_gather", lambda own, _: sent.append(own) or [own])
    for share in shares:
        shuffled(share, Places(share, share, 0, True, ""))
    monkeypatch.setattr("layerwise.passes.positions.shuffles.all_gather", lambda own, _: sent)
    for rank, share in enumerate(shares):
        found = labels(shuffled(share, Places(share, torch.cat(shares).argsort(), rank, True, "")))
        for order, own in zip(whole, found, strict=True):
            assert torch.equal(order[torch.isin(inputs, share)], own)


def one_stream(how: str) -> Stream:
    settings = Settings(null=DRAWS, reduce=how)
    request = PassRequest((), frozenset(), ("label",), {}, None, settings)  # type: ignore[arg-type]
    return Stream("label", request, () if how == "tokens" else (4, 5))


def test_more_positions_than_were_read_are_refused():
    shuffles = PositionShuffles("tag", torch.tensor([0, 1, 2]), torch.arange(3), 2, 0)
    with pytest.raises(NotRepeatable, match="3 positions"):
        shuffles.of({"tag": (torch.zeros(0), None)}, 2, 2)
