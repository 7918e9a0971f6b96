"""What the network itself makes of a batch: its predictions, class scores and other outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

__all__ = ["Answer", "dense_scores", "values_of"]


@dataclass(frozen=True)
class Answer:
    """What the network itself makes of a batch.

    Attributes
    ----------
    predicted : Tensor or None
        The class with the largest score, shape ``(n,)``; of every token ``(n, tokens)`` or pixel ``(n, h, w)`` where
        those are read. None if the network gives no class scores.
    scores : int
        How many class scores it gives; 0 for none.
    values : dict of str to Tensor
        Its vectors and matrices with a row for each sample, or for each token, by the key that they have in a mapping
        of several outputs or by their place in a tuple (``"0"``); the only output, or its entry ``logits``, under the
        empty name; those of layers that judge a target under the layers' names.
    heads : dict of str to str
        The name that a target's values have, where the caller says another than the target's own.
    """

    predicted: Tensor | None
    scores: int
    values: Mapping[str, Tensor]
    heads: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _classes(self) -> dict[str, Tensor]:
        """The class with the largest score by every output that is a matrix, however often it is asked for."""
        return {name: value.argmax(1) for name, value in self.values.items() if value.ndim == 2}

    def of_target(self, target: str) -> tuple[Tensor | None, int]:
        """The class that the network predicts for a target, and of how many.

        Of several outputs, that which is called as the target has its scores; else they are the network's own.
        """
        name = self.name_of(target)
        if not self.has_scores_of(target):
            return self.predicted, self.scores
        return self._classes[name], self.values[name].shape[1]

    def name_of(self, target: str) -> str:
        """The name that a target's values have."""
        return self.heads.get(target, target)

    def has_scores_of(self, target: str) -> bool:
        """Whether one of several outputs has the class scores of a target, and they are not the network's own."""
        own = self.values.get(self.name_of(target))
        return own is not None and own.ndim == 2

    @classmethod
    def of(
        cls, logits: Tensor | None, axis: int, values: Mapping[str, Tensor], heads: Mapping[str, str] | None = None
    ) -> Answer:
        """What a network makes of a batch by its class scores along an axis."""
        if logits is None:
            return cls(None, 0, values, heads or {})
        return cls(logits.argmax(axis), logits.shape[axis], values, heads or {})


def values_of(output: Any, size: int, axes: tuple[int, ...] = (1, 2)) -> dict[str, Tensor]:
    """The outputs that may be values of a target, by name: those of so many axes with a row for every sample."""
    if isinstance(output, Mapping):
        named = dict(output)
    elif isinstance(output, (tuple, list)):
        named = {str(place): value for place, value in enumerate(output)}
    else:
        named = {"": output}
    named.setdefault("", named.get("logits", getattr(output, "logits", None)))
    return {
        str(name): value
        for name, value in named.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim in axes and len(value) == size
    }


def dense_scores(output: Any, how: str) -> Tensor | None:
    """Class scores of every token, shape ``(n, tokens, C)``, or pixel, ``(n, C, h, w)``, where the output has them."""
    if isinstance(output, Mapping):
        output = output.get("logits", output.get("out"))
    output = getattr(output, "logits", output)
    wanted = 3 if how == "tokens" else 4
    return output if isinstance(output, Tensor) and output.is_floating_point() and output.ndim == wanted else None
