"""Loaders that label every token of a text with the next one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from layerwise.errors import InvalidData

__all__ = ["NextTokens", "next_tokens"]

# The label that torch's cross entropy ignores by default.
_IGNORED = -100


def next_tokens(loader: Iterable[Any]) -> Iterable[Any]:
    """Label every token of a loader's texts with the token that follows it.

    The last token of a text, and a token before padding, has the label -100, which does not count. Existing labels are
    replaced, both those of whole texts and those that a decoder would shift itself.

    Parameters
    ----------
    loader : iterable
        Batches of texts: mappings with ``input_ids`` and, where texts are padded, ``attention_mask``; tokens of shape
        ``(n, tokens)``; or pairs of either and labels.

    Returns
    -------
    iterable
        Mappings with ``input_ids``, ``labels`` of the same shape, and the other entries of the batch. It runs as often
        as `loader`.

    Raises
    ------
    InvalidData
        If a batch has no tokens.

    Examples
    --------
    >>> ids, mask = torch.tensor([[4, 7, 5, 0]]), torch.tensor([[1, 1, 1, 0]])
    >>> next(iter(next_tokens([{"input_ids": ids, "attention_mask": mask}])))["labels"].tolist()
    [[7, 5, -100, -100]]
    """
    return map(_labelled, loader) if isinstance(loader, Iterator) else NextTokens(loader)


class NextTokens:
    """A loader whose batches have the labels of `next_tokens`.

    Parameters
    ----------
    loader : iterable
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        return map(_labelled, self.loader)

    def __getattr__(self, name: str) -> Any:
        # Its length, and its sampler, which shows whether processes share the texts.
        return getattr(self.loader, name)


def _labelled(raw: Any) -> dict[str, Any]:
    inputs = raw[0] if isinstance(raw, (tuple, list)) else raw
    inputs = {"input_ids": inputs} if isinstance(inputs, Tensor) else inputs
    ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point():
        raise InvalidData(
            "next_tokens needs batches with 'input_ids' of shape (n, tokens); there is "
            + (str(list(inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__)
        )
    labels = torch.full_like(ids, _IGNORED)
    labels[:, :-1] = ids[:, 1:]
    if isinstance(mask := inputs.get("attention_mask"), Tensor):
        labels[:, :-1][mask[:, 1:] == 0] = _IGNORED
    return {**inputs, "labels": labels}
