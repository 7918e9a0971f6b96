"""Vectors of numbers for every token: a profile is that of the real tokens as samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from helpers.positions import VOCABULARY, Tagger, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from layerwise.errors import InvalidLabels
from layerwise.passes import PositionShuffles
from layerwise.profiling import profile


class TwoHeads(nn.Module):
    """A vector and class scores for every token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.block = nn.Embedding(VOCABULARY, 6), nn.Linear(6, 6)
        self.place, self.tag = nn.Linear(6, 2), nn.Linear(6, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        hidden = self.block(self.embedding(input_ids)).tanh()
        return {"place": self.place(hidden), "logits": self.tag(hidden)}


@pytest.fixture
def regressor() -> Tagger:
    torch.manual_seed(0)
    return Tagger(classes=2)


def values(ids: Tensor, dimension: int = 2) -> Tensor:
    """Numbers that depend on the token and its place."""
    places = torch.arange(ids.shape[1], dtype=torch.float64)
    columns = [(ids * (number + 1.3)).sin() + 0.1 * (places + number).cos() for number in range(dimension)]
    return torch.stack(columns, dim=-1)


def of_texts(ids: Tensor, mask: Tensor, labels: Mapping[str, Tensor], size: int = 5) -> list[dict[str, Any]]:
    return [
        {
            "input_ids": ids[own],
            "attention_mask": mask[own],
            "labels": {name: held[own] for name, held in labels.items()},
        }
        for own in torch.arange(len(ids)).split(size)
    ]


def of_samples(ids: Tensor, labels: Mapping[str, Tensor]) -> list[tuple[Tensor, dict[str, Tensor]]]:
    return [(ids[own], {name: held[own] for name, held in labels.items()}) for own in torch.arange(len(ids)).split(16)]


def check_alike(tokens: xr.Dataset, samples: xr.Dataset) -> None:
    assert set(samples.data_vars) <= set(tokens.data_vars)
    assert samples["linear_mse"].notnull().all()
    for name in samples.data_vars:
        np.testing.assert_allclose(tokens[name], samples[name], rtol=1e-5, atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(size=st.integers(1, 24), dimension=st.integers(1, 3), side=st.sampled_from(["left", "right"]))
def test_tokens_have_the_numbers_of_samples_however_they_are_cut(size: int, dimension: int, side: str) -> None:
    torch.manual_seed(0)
    model = Tagger(classes=dimension)
    ids, mask, _ = texts(side=side)
    targets, real = values(ids, dimension), mask == 1
    # Values of padding are no values.
    targets[~real] = torch.nan
    tokens = profile(model, of_texts(ids, mask, {"place": targets}, size), reduce="tokens")
    samples = profile(model, of_samples(ids[real], {"place": targets[real]}))
    assert samples["network_mse"].notnull().all()
    assert json.loads(tokens.attrs["positions"]) == {"train": {"place": int(real.sum())}}
    check_alike(tokens, samples)


def test_tokens_without_a_finite_value_are_left_out(regressor: Tagger) -> None:
    ids, mask, _ = texts()
    targets, real = values(ids), mask == 1
    targets[:, 1, 1] = torch.nan
    with pytest.raises(InvalidLabels, match="NaN or infinity"):
        profile(regressor, of_texts(ids, mask, {"place": targets}), reduce="tokens")
    tokens = profile(regressor, of_texts(ids, mask, {"place": targets}), reduce="tokens", nonfinite="drop")
    samples = profile(regressor, of_samples(ids[real], {"place": targets[real]}), nonfinite="drop")
    check_alike(tokens, samples)
    assert json.loads(tokens.attrs["without_target"]) == {"train": {"place": int(real[:, 1].sum())}}


def test_a_number_for_every_token_is_a_target_of_one_dimension() -> None:
    torch.manual_seed(0)
    model = Tagger(classes=1)
    ids, mask, _ = texts()
    one, two = (
        profile(model, of_texts(ids, mask, {"place": held}), reduce="tokens")
        for held in (values(ids)[..., 0], values(ids)[..., :1])
    )
    xr.testing.assert_identical(one.drop_attrs(), two.drop_attrs())


def test_a_value_of_minus_100_is_a_value(regressor: Tagger) -> None:
    ids, mask, _ = texts()
    targets, real = values(ids), mask == 1
    targets[0, 0] = -100.0
    tokens = profile(regressor, of_texts(ids, mask, {"place": targets}), reduce="tokens")
    check_alike(tokens, profile(regressor, of_samples(ids[real], {"place": targets[real]})))


@pytest.mark.parametrize("second", ["memory", "rerun"])
def test_values_beside_classes_of_tokens_are_those_of_either_alone(
    monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    from layerwise.passes import plan

    if second == "rerun":
        monkeypatch.setattr(plan, "_WIDEST_KEPT", 0)
    torch.manual_seed(0)
    model = TwoHeads()
    ids, mask, labels = texts()
    options = {"reduce": "tokens", "jackknife": 3, "null": 2}
    kinds = {"place": values(ids), "tag": labels}
    both = profile(model, of_texts(ids, mask, kinds), **options)
    for name, own in kinds.items():
        alone = profile(model, of_texts(ids, mask, {name: own}), **options)
        for variable in alone.data_vars:
            beside = both[variable].sel(target=[name]) if "target" in both[variable].dims else both[variable]
            if "target" not in alone[variable].dims:
                continue
            xr.testing.assert_allclose(beside, alone[variable], rtol=1e-6)
    assert both["network_mse"].sel(target="place").notnull().all()
    assert both["linear_r2_se"].sel(target="place").notnull().all()


def test_the_only_output_is_of_no_target_where_two_are_alike(regressor: Tagger) -> None:
    ids, mask, _ = texts()
    labels = {"place": values(ids), "other": values(ids) + 1}
    ds = profile(regressor, of_texts(ids, mask, labels), reduce="tokens")
    assert ds["network_mse"].isnull().all()


def test_values_are_turned_among_the_tokens_that_have_one() -> None:
    held = torch.tensor([[0.0], [1.0], [torch.nan], [3.0], [4.0]])
    shuffles = PositionShuffles("place", held, torch.arange(5), 6, 0)
    there = torch.isfinite(held[:, 0])
    for seen in shuffles.of({"place": (held, there)}, 0, 5):
        moved, counts = seen["place"]
        assert sorted(moved[counts][:, 0].tolist()) == [0.0, 1.0, 3.0, 4.0]
        assert (moved != held)[there].all()


@pytest.mark.parametrize(
    ("shape", "options", "match"),
    [
        ((24, 7, 2), {"reduce": "tokens", "samples_per_class": 4}, "has no classes"),
        ((24, 7, 2), {"reduce": "pixels"}, "takes integers"),
        ((24,), {"reduce": "tokens"}, r"\(n, tokens\) or \(n, tokens, q\) is needed"),
        ((24, 7, 2, 2), {"reduce": "tokens"}, r"\(n, tokens\) or \(n, tokens, q\) is needed"),
        ((24, 7, 2), {}, r"reduce='tokens'"),
    ],
)
def test_values_of_other_shapes_and_settings_are_refused(
    regressor: Tagger, shape: tuple[int, ...], options: dict[str, Any], match: str
) -> None:
    ids, mask, _ = texts()
    with pytest.raises(InvalidLabels, match=match):
        profile(regressor, of_texts(ids, mask, {"place": torch.zeros(shape)}), **options)


def test_a_later_batch_of_another_dimension_is_refused(regressor: Tagger) -> None:
    ids, mask, _ = texts()
    data = of_texts(ids, mask, {"place": values(ids)})
    data[2]["labels"] = {"place": values(ids[10:15], 3)}
    with pytest.raises(InvalidLabels, match=r"\(n, tokens, 2\), as in the first batch.*\(5, 7, 3\)"):
        profile(regressor, data, reduce="tokens")


def test_each_of_two_targets_has_the_numbers_that_it_has_alone() -> None:
    torch.manual_seed(0)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.hidden, self.out = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.out(torch.tanh(self.hidden(self.embed(input_ids))))

    def batches(count: int, seed: int, names: str) -> list[object]:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, 20, (count, 7), generator=generator)
        targets = {
            name: scale * torch.randn(count, 7, scale, generator=generator) for name, scale in (("wide", 3), ("one", 1))
        }
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return [(inputs, {name: targets[name] for name in names.split()})]

    def measured(names: str) -> xr.Dataset:
        data = {"train": batches(40, 0, names), "test": batches(20, 1, names)}
        chosen = ["linear_mse", "linear_r2", "nrc2_cka", "linear_logme"]
        return profile(network, data, reduce="tokens", standardize=True, layers=["hidden"], metrics=chosen)

    network = Tokens().eval()
    both = measured("wide one")
    for name in ("wide", "one"):
        alone = measured(name)
        for metric in ("linear_mse", "linear_r2", "nrc2_cka", "linear_logme"):
            np.testing.assert_allclose(both[metric].sel(target=name), alone[metric].sel(target=name), rtol=1e-9)
