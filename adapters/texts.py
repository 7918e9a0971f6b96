"""The preparation of texts and token ids for language models, and the limits of these models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from layerwise.errors import InvalidData
from layerwise.runtime.notes import Notes
from layerwise.runtime.reading_errors import refusing

__all__ = ["TextPreparation", "beyond_limits", "most_tokens", "vocabulary_size"]

# Longer texts are cut to this, unless tokenizer or model have a smaller limit.
_LONGEST = 512
_POSITIONS = ("max_encoder_position_embeddings", "max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")


class TextPreparation:
    """Converts texts, pairs of texts or rows of token ids to a mapping with ``input_ids`` and ``attention_mask``.

    Parameters
    ----------
    load : callable
        Returns the tokenizer; called for the first text.
    positions : int or None
        The largest number of tokens that the model takes.
    vocabulary : int or None
        Number of token ids of the model.
    padding : int or None
        The id that is only padding, if the model has one.

    Attributes
    ----------
    notes : Notes
        Lines on guesses.
    """

    def __init__(
        self, load: Callable[[], Any], positions: int | None, vocabulary: int | None, padding: int | None
    ) -> None:
        self._load = load
        self.positions = positions
        self.vocabulary = vocabulary
        self.padding = padding
        self.notes = Notes()

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, with a padding token of any id: the mask marks the padding."""
        tokenizer = self._load()
        with refusing(f"the tokenizer of {_origin(tokenizer)} has no token for padding"):
            if tokenizer.pad_token is None:
                first = tokenizer.eos_token or tokenizer.unk_token
                tokenizer.pad_token = first or tokenizer.convert_ids_to_tokens(0)
        return tokenizer

    @property
    def longest(self) -> int:
        """The largest number of tokens of a text; longer texts are cut."""
        tokenizer = self.tokenizer
        with refusing(f"the tokenizer of {_origin(tokenizer)} does not say how long a text may be"):
            return min(int(tokenizer.model_max_length), self.positions or _LONGEST, _LONGEST)

    def __call__(self, raw: Sequence[Any]) -> dict[str, Tensor]:
        """Prepare a batch.

        Raises
        ------
        InvalidData
            If the model does not have the token ids, or the inputs are neither texts nor token ids.
        """
        if all(isinstance(item, (str, tuple, list)) for item in raw):
            batch = dict(self._encode(raw, padding=True, truncation=True, max_length=self.longest, return_tensors="pt"))
            self._check(batch["input_ids"].numpy(), "the tokenizer gives")
            return batch
        return self._pad([self._as_ids(item) for item in raw])

    def token_counts(self, raw: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of tokens of every text, without and with special tokens, shape ``(n,)`` each.

        Raises
        ------
        InvalidData
            If the tokenizer knows no word of the texts.
        """
        encoded = self._encode(raw, add_special_tokens=False, verbose=False)["input_ids"]
        self._check_known(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in encoded]))
        tokens = np.array([len(ids) for ids in encoded])
        return tokens, tokens + self._special_tokens(raw)

    def _check_known(self, ids: np.ndarray) -> None:
        """Refuse texts of which the tokenizer knows no word: it may have no vocabulary."""
        unknown = self.tokenizer.unk_token_id
        share = float((ids == unknown).mean()) if ids.size and unknown is not None else 0.0
        if share == 1:
            raise InvalidData(
                f"the tokenizer knows no word of the texts: all of {ids.size} tokens are {self.tokenizer.unk_token!r}. "
                f"It has {len(self.tokenizer)} tokens; was it saved with the model?"
            )
        if share > 0.5:
            self.notes.add(f"the tokenizer does not know {share:.0%} of the tokens of the texts", "unknown")

    def _encode(self, raw: Sequence[Any], **options: Any) -> Any:
        with refusing(f"the tokenizer of {_origin(self.tokenizer)} fails on the texts"):
            return self._tokens(raw, **options)

    def _tokens(self, raw: Sequence[Any], **options: Any) -> Any:
        texts = [item if isinstance(item, str) else tuple(item) for item in raw]
        if any(isinstance(text, str) for text in texts):
            return self.tokenizer([str(text) for text in texts], **options)
        if self._special_tokens(raw) <= self.tokenizer.num_special_tokens_to_add(pair=False):
            self.notes.add("the tokenizer puts nothing between the two texts of a pair: they are read as one text")
        first, second = zip(*texts, strict=True)
        return self.tokenizer(list(first), list(second), **options)

    def _special_tokens(self, raw: Sequence[Any]) -> int:
        """Return how many special tokens the tokenizer adds to each text, or to each pair."""
        return int(self.tokenizer.num_special_tokens_to_add(pair=not isinstance(raw[0], str)))

    def _as_ids(self, value: Any) -> np.ndarray:
        ids = np.asarray(value) if isinstance(value, (np.ndarray, Tensor)) else None
        if ids is None:
            raise InvalidData(f"the model takes texts or token ids, and the data has {_kind(value)}")
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise InvalidData(
                f"the model takes texts or token ids, integers of shape (tokens,), and the data has {ids.dtype} of "
                f"shape {ids.shape}"
            )
        return ids

    def _pad(self, rows: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Pad rows of token ids to one length, with a mask."""
        longest = max(map(len, rows))
        if self.positions is not None and longest > self.positions:
            raise InvalidData(f"rows of {longest} token ids are more than the {self.positions} that the model takes")
        self._check(np.concatenate(rows), "the data has")
        ids = np.full((len(rows), longest), self.padding or 0, dtype=np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            real = self._real(row)
            ids[place, : len(row)], mask[place, : len(row)] = row, real
        empty = int((mask.sum(1) == 0).sum())
        if empty:
            raise InvalidData(f"{empty} of {len(rows)} rows of token ids hold padding alone")
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}

    def _real(self, row: np.ndarray) -> np.ndarray:
        """Return the mask of a row: 0 for padding at its ends, shape ``(tokens,)``."""
        if self.padding is None:
            return np.ones(len(row), dtype=np.int64)
        real = np.flatnonzero(row != self.padding)
        mask = np.zeros(len(row), dtype=np.int64)
        if len(real):
            mask[real[0] : real[-1] + 1] = 1
        if mask.sum() < len(row):
            self.notes.add(f"token ids {self.padding} at the ends of rows are the model's padding and do not count")
        return mask

    def _check(self, ids: np.ndarray, who: str) -> None:
        if not ids.size or self.vocabulary is None:
            return
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self.vocabulary:
            raise InvalidData(
                f"{who} token ids from {low} to {high}, and the model knows 0 to {self.vocabulary - 1}; are they of "
                "the tokenizer of another model?"
            )


def most_tokens(model: nn.Module) -> int | None:
    """Return the largest number of tokens that a model has positions for; None if it is not known.

    In RoBERTa and similar models, positions begin after that of padding, so that the first ones are unused.
    """
    config = _text_config(model)
    stated = [getattr(config, name, None) for name in _POSITIONS]
    limits = [value for value in stated if isinstance(value, int) and value > 0][:1]
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and "position" in name.rsplit(".", 1)[-1]:
            padding = module.padding_idx
            limits += [] if padding is None else [module.num_embeddings - padding - 1]
    return min(limits, default=None)


def vocabulary_size(model: nn.Module) -> int | None:
    """Return the number of token ids of a model; None if it is not known."""
    size = getattr(_text_config(model), "vocab_size", None)
    return size if isinstance(size, int) and size > 0 else None


def beyond_limits(model: nn.Module, ids: Any) -> str:
    """Return why a forward must fail on these token ids, shape ``(n, tokens)``; empty if they are within limits."""
    if not isinstance(ids, Tensor) or not ids.numel():
        return ""
    positions, vocabulary = most_tokens(model), vocabulary_size(model)
    if positions is not None and ids.shape[-1] > positions:
        return f"a batch has texts of {ids.shape[-1]} tokens, and the model has positions for {positions}; cut them"
    low, high = int(ids.min()), int(ids.max())
    if vocabulary is not None and (low < 0 or high >= vocabulary):
        return f"a batch has token ids from {low} to {high}, and the model knows 0 to {vocabulary - 1}"
    return ""


def _text_config(model: nn.Module) -> Any:
    config: Any = getattr(model, "config", None)
    get_text_config = getattr(config, "get_text_config", None)
    return config if get_text_config is None else get_text_config()


def _origin(tokenizer: Any) -> str:
    return repr(str(getattr(tokenizer, "name_or_path", "") or "the model"))


def _kind(value: Any) -> str:
    return "pictures" if hasattr(value, "convert") else type(value).__name__
