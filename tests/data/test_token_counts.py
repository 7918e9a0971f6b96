from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerwise.data import read
from layerwise.data.token_counts import CountsTokens, with_tokens
from layerwise.errors import EmptyData

from .files import write_csv


class Words:
    """Words are tokens, and one is put in front of all texts."""

    def longest(self) -> int:
        return 4

    def token_counts(self, raw: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        own = np.array([len(text.split()) for text in raw])
        return own, own + 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    texts = ['" "', "a b", "a b c", "a b c d", '"  "', "a"]
    return write_csv(tmp_path / "t.csv", [(text, row % 2) for row, text in enumerate(texts)], "text,label")


def test_texts_without_tokens_are_left_out(path: Path) -> None:
    source = read(f"csv:{path}")
    kept = with_tokens(source, Words())
    assert isinstance(Words(), CountsTokens)
    assert kept.splits["train"].positions.tolist() == [1, 2, 3, 5]
    assert kept.splits["train"].labels.tolist() == [1, 0, 1, 1]
    assert kept.fingerprint != source.fingerprint
    assert list(kept.notes) == [
        "split 'train': 2 of 6 texts have no token and are left out",
        "split 'train': 1 of 6 texts are cut to 4 tokens",
    ]


def test_texts_that_all_have_tokens_stay_as_they_are(path: Path) -> None:
    source = read(f"csv:{path}?where=text:a b&text=text")
    assert with_tokens(source, Words()) is source


def test_a_split_without_any_token_is_refused(path: Path) -> None:
    source = read(f"csv:{path}?where=text: &text=text")
    with pytest.raises(EmptyData, match="split 'train': none of 1 texts has a token"):
        with_tokens(source, Words())
