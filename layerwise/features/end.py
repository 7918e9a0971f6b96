"""The token of a text that a network reads, where the network picks it by the numbers of the tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["End", "possible_ends", "token_ids"]


Rule = Literal["greatest", "first", "last", "before"]
_BY_TOKEN: tuple[Rule, ...] = ("first", "last")


@dataclass(frozen=True)
class End:
    """A rule that picks one token of every text.

    Attributes
    ----------
    rule : {"greatest", "first", "last", "before"}
        Which place is picked: the first one of the greatest number; the first or the last one of `token`; the last one
        that is not `token`.
    token : int
        The number of the token that ends a text, or pads it.
    """

    rule: Rule
    token: int = -1

    def mask(self, ids: Tensor) -> Tensor:
        """Return 1 at the token that is picked, shape ``(n, tokens)``; at the first one where the rule finds none."""
        place = torch.arange(ids.shape[1], device=ids.device)
        if self.rule == "greatest":
            picked = ids.argmax(1)
        elif self.rule == "first":
            picked = (ids == self.token).int().argmax(1)
        elif self.rule == "last":
            picked = ((ids == self.token) * place).argmax(1)
        else:
            picked = ((ids != self.token) * place).argmax(1)
        return (place[None] == picked[:, None]).int()


def token_ids(inputs: Any) -> Tensor | None:
    """Return the numbers of a batch's tokens, shape ``(n, tokens)``; None where its inputs have none."""
    if isinstance(inputs, Mapping):
        inputs = inputs.get("input_ids", next(iter(inputs.values())) if len(inputs) == 1 else None)
    elif isinstance(inputs, (tuple, list)) and inputs:
        inputs = next((value for value in inputs if _are_ids(value)), None)
    return inputs if _are_ids(inputs) else None


def possible_ends(ids: Tensor, picked: Tensor) -> list[End]:
    """List the rules that would pick given tokens, the likeliest first.

    Parameters
    ----------
    ids : Tensor
        Numbers of the tokens, shape ``(n, tokens)``.
    picked : Tensor
        Whether each token may be one that the network picks, in the same shape.
    """
    places = [(int(row), int(place)) for row, place in picked.nonzero()]
    tokens = dict.fromkeys(int(ids[row, place]) for row, place in places)
    padding = dict.fromkeys(int(ids[row, place + 1]) for row, place in places if place + 1 < ids.shape[1])
    by_token = [End(rule, token) for token in tokens for rule in _BY_TOKEN]
    return [End("greatest"), *(End("before", token) for token in padding), *by_token]


def _are_ids(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2 and value.dtype in (torch.int64, torch.int32)
