"""Texts one by one, padded together, and padded further have the same numbers in every layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from layerwise.profiling import profile

WORDS, LONGEST, COUNT = 100, 12, 14
_BERT = {"vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_GPT = {"vocab_size": WORDS, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 1}
_T5 = {"vocab_size": WORDS, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}

NETWORKS = {
    "absolute positions": lambda: transformers.BertModel(transformers.BertConfig(**_BERT, intermediate_size=32)),
    "a causal decoder": lambda: transformers.GPT2Model(transformers.GPT2Config(**_GPT)),
    "encoder and decoder": lambda: transformers.T5Model(transformers.T5Config(**_T5, decoder_start_token_id=0)),
    "sequence first inside": lambda: transformers.XLNetModel(
        transformers.XLNetConfig(vocab_size=WORDS, d_model=16, n_layer=2, n_head=2, d_inner=32)
    ),
    "channels first inside": lambda: transformers.SqueezeBertModel(
        transformers.SqueezeBertConfig(
            **_BERT, intermediate_size=32, embedding_size=16, q_groups=1, k_groups=1, v_groups=1
        )
    ),
    "torch's own layout": lambda: SequenceFirst(),
}


class SequenceFirst(nn.Module):
    """Sequence first, with a mask that is true of padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encoder(self.embed(input_ids).transpose(0, 1), src_key_padding_mask=attention_mask == 0)


def texts() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, LONGEST - 2, (COUNT, 1), generator=generator)
    labels = torch.arange(COUNT) % 2
    words = torch.randint(4, WORDS // 2, (COUNT, LONGEST), generator=generator) + WORDS // 2 * labels[:, None]
    mask = (torch.arange(LONGEST) < lengths).long()
    return words * mask, mask, labels


def batches(cut: list[int], longest: int | None) -> list[dict[str, Tensor]]:
    """The texts in batches, padded to the longest of each or further."""
    found = []
    for ids, mask, labels in zip(*(part.split(cut) for part in texts()), strict=True):
        width = longest or int(mask.sum(1).max())
        found.append({"input_ids": ids[:, :width], "attention_mask": mask[:, :width], "labels": labels})
    return found


# Series with their channels first have no last token.
CASES = [(name, how) for name in NETWORKS for how in ("mean", "gap", "last") if (name[:8], how) != ("channels", "last")]


@pytest.mark.parametrize(("name", "reduce"), CASES)
def test_other_samples_and_padding_change_no_feature(name: str, reduce: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()

    def ratios(cut: list[int], longest: int | None) -> dict[str, float]:
        ds = profile(network, batches(cut, longest), metrics=["nc1_trace"], reduce=reduce)
        return dict(zip(ds["layer"].values.tolist(), ds["nc1_trace"].values.ravel().tolist(), strict=True))

    alone = ratios([1] * COUNT, None)
    for cut, longest in (([COUNT], None), ([1, 9, 4], None), ([4, 10], LONGEST)):
        found = ratios(cut, longest)
        assert list(found) == list(alone)
        np.testing.assert_allclose(list(found.values()), list(alone.values()), rtol=1e-3)
