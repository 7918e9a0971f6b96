"""Virtual tokens of prompt tuning are a prefix that is none of the sample's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import oracle
from peft import PromptTuningConfig, get_peft_model
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from layerwise.profiling import profile

VIRTUAL, LAYER = 4, "base_model.bert.encoder.layer.1"


@pytest.fixture(scope="module")
def tuned() -> nn.Module:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    prompt = PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=VIRTUAL)
    return get_peft_model(BertForSequenceClassification(config), prompt).eval()


def texts() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = (torch.arange(10) < torch.randint(2, 11, (24, 1), generator=generator)).long()
    return torch.randint(5, 98, (24, 10), generator=generator) * mask, mask, torch.arange(24) % 2


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")
@pytest.mark.parametrize(
    ("reduce", "pool"),
    [
        ("mean", lambda hidden, real: (hidden * real).sum(1) / real.sum(1)),
        ("gap", lambda hidden, real: (hidden * real).sum(1) / real.sum(1)),
        # As the network's own classifier has it: the first position, which is virtual.
        ("auto", lambda hidden, real: hidden[:, -VIRTUAL - 10]),
    ],
)
def test_padding_and_virtual_tokens_never_count(tuned, reduce, pool) -> None:
    ids, mask, labels = texts()
    kept: list[Tensor] = []
    handle = tuned.get_submodule(LAYER).register_forward_hook(
        lambda module, args, output: kept.append(output[0] if isinstance(output, tuple) else output)
    )
    with torch.no_grad():
        tuned(input_ids=ids, attention_mask=mask)
    handle.remove()
    hidden = kept[0].double() if reduce == "auto" else kept[0][:, VIRTUAL:].double()
    features = pool(hidden, mask[..., None].double()).numpy()
    data = [{"input_ids": ids, "attention_mask": mask, "labels": labels}]
    measured = profile(tuned, data, reduce=reduce, metrics=["nc1_trace"])["nc1_trace"].sel(layer=LAYER)
    np.testing.assert_allclose(measured.values.ravel(), oracle.nc1_trace(features, labels.numpy()), rtol=1e-5)
