"""Two texts in one batch, each with a mask of its own: every layer has the mask of the text that it is of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import oracle
from torch import Tensor, nn

from layerwise.errors import InvalidData, InvalidLabels
from layerwise.network.graph.texts import texts_of
from layerwise.network.graph.variations import Extent
from layerwise.profiling import profile


class Tower(nn.Module):
    """Tokens, mixed one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Embedding(30, 8), nn.Linear(8, 8)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return (torch.tanh(self.mix(self.embed(ids))) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class TwoTexts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.fc = Tower(), Tower(), nn.Linear(16, 2)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, input_ids_2: Tensor, attention_mask_2: Tensor
    ) -> Tensor:
        return self.fc(torch.cat([self.one(input_ids, attention_mask), self.two(input_ids_2, attention_mask_2)], 1))


class Unmasked(TwoTexts):
    """The second text comes without a mask."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, input_ids_2: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(input_ids, attention_mask, input_ids_2, torch.ones_like(input_ids_2))


class EncoderDecoder(TwoTexts):
    def forward(self, src: Tensor, tgt: Tensor, src_key_padding_mask: Tensor, tgt_key_padding_mask: Tensor) -> Tensor:
        return super().forward(src, (~src_key_padding_mask).long(), tgt, (~tgt_key_padding_mask).long())


class Added(nn.Module):
    """The embeddings of both texts are added, so that they have to be equally long."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.fc = nn.Embedding(30, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, input_ids_2: Tensor, attention_mask_2: Tensor
    ) -> Tensor:
        hidden = self.mix(self.embed(input_ids) + self.embed(input_ids_2))
        real = (attention_mask * attention_mask_2)[..., None]
        return self.fc((hidden * real).sum(1) / real.sum(1))


def text(length: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.randint(2, length + 1, (24, 1), generator=generator)
    mask[0] = True
    return torch.randint(1, 30, (24, length), generator=generator) * mask, mask.long()


LABELS = torch.arange(24) % 2


def named(kind: type[nn.Module], lengths: tuple[int, int]) -> dict[str, Tensor]:
    (one, first), (two, second) = text(lengths[0], 1), text(lengths[1], 2)
    if kind is EncoderDecoder:
        masks = {"src_key_padding_mask": first == 0, "tgt_key_padding_mask": second == 0}
        return {"src": one, "tgt": two, **masks}
    return {"input_ids": one, "attention_mask": first, "input_ids_2": two, "attention_mask_2": second}


def expected(tower: Tower, ids: Tensor, mask: Tensor) -> float:
    hidden = tower.mix(tower.embed(ids)).detach().double().numpy()
    means = [row[real] for row, real in zip(hidden, mask.bool().numpy(), strict=True)]
    return oracle.nc1_trace(np.stack([row.mean(0) for row in means]), LABELS.numpy())


@pytest.mark.parametrize("lengths", [(9, 9), (9, 7)], ids=["equally long", "of two lengths"])
@pytest.mark.parametrize("kind", [TwoTexts, EncoderDecoder])
def test_each_layer_has_the_mask_of_its_text(kind: type[TwoTexts], lengths: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = kind().eval()
    inputs = named(kind, lengths)
    ds = profile(network, [(inputs, LABELS)], metrics=["nc1_trace"], layers=["one.mix", "two.mix"], reduce="gap")
    for layer, tower, seed, length in zip(ds.layer.values, (network.one, network.two), (1, 2), lengths, strict=True):
        right = expected(tower, *text(length, seed))
        assert ds.nc1_trace.sel(layer=layer).item() == pytest.approx(right, rel=1e-5)
    assert all(repr(name) in ds.attrs["padding"] for name in inputs if "mask" in name)


def test_an_equally_long_text_without_a_mask_has_none() -> None:
    torch.manual_seed(0)
    network = Unmasked().eval()
    inputs = named(TwoTexts, (9, 9))
    del inputs["attention_mask_2"]
    ds = profile(network, [(inputs, LABELS)], metrics=["nc1_trace"], layers=["two.mix"], reduce="gap")
    ids = inputs["input_ids_2"]
    assert ds.nc1_trace.item() == pytest.approx(expected(network.two, ids, torch.ones_like(ids)), rel=1e-5)
    assert "counted" in ds.attrs["padding"]


def test_indistinguishable_masks_are_refused_with_both_names() -> None:
    inputs = named(Added, (9, 9))
    run: dict[str, Any] = {"metrics": ["nc1_trace"], "layers": ["mix"], "reduce": "gap"}
    with pytest.raises(InvalidData, match=r"'attention_mask' or by 'attention_mask_2'"):
        profile(Added().eval(), [(inputs, LABELS)], **run)
    inputs["attention_mask_2"] = inputs["attention_mask"]
    profile(Added().eval(), [(inputs, LABELS)], **run)


def test_labels_of_tokens_of_an_unknown_text_are_refused() -> None:
    inputs = named(TwoTexts, (9, 9))
    labels = torch.randint(0, 2, (24, 9))
    with pytest.raises(InvalidLabels, match=r"may be of the tokens of 'attention_mask' or of 'attention_mask_2'"):
        profile(TwoTexts().eval(), [(inputs, labels)], metrics=["nc1_trace"], layers=["one.mix"], reduce="tokens")


def test_labels_of_tokens_need_no_choice_between_masks_that_agree() -> None:
    inputs = named(TwoTexts, (9, 9))
    inputs["attention_mask_2"] = inputs["attention_mask"]
    labels = torch.randint(0, 2, (24, 9))
    profile(TwoTexts().eval(), [(inputs, labels)], metrics=["nc1_trace"], layers=["one.mix"], reduce="tokens")


NAMES = ["input_ids", "attention_mask", "token_type_ids", "decoder_input_ids"]
LENGTH = Extent(dict.fromkeys(range(4), (1,)), ("attention_mask",))


def test_inputs_that_run_only_together_are_one_text() -> None:
    assert texts_of(LENGTH, NAMES, lambda part: len(part.axes) == 4) == [LENGTH]


def test_inputs_that_run_at_different_lengths_are_two_texts() -> None:
    encoder = {0, 1, 2}
    texts = texts_of(LENGTH, NAMES, lambda part: part.axes.keys() in ({3}, encoder))
    assert sorted((sorted(part.axes), part.masks) for part in texts) == [([0, 1, 2], ("attention_mask",)), ([3], ())]
