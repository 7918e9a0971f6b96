"""The answer of a network to a batch: its predictions, class scores and other outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

__all__ = ["Answer", "dense_scores", "values_of"]


@dataclass(frozen=True)
class Answer:
    """The answer of a network to a batch.

    Attributes
    ----------
    predicted : Tensor or None
        The class with the largest score, shape ``(n,)``; for every token ``(n, tokens)`` or pixel ``(n, h, w)`` where
        those are read. None if the network has no class scores.
    scores : int
        Number of class scores; 0 for none.
    values : mapping of str to Tensor
        Outputs with a row for each sample, or for each token, by name (`values_of`), and the layers that judge a
        target, by the layer's name.
    heads : mapping of str to str
        The name in `values` of a target's output, where the caller names another than the target's own.
    """

    predicted: Tensor | None
    scores: int
    values: Mapping[str, Tensor]
    heads: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _classes(self) -> dict[str, Tensor]:
        """The class with the largest score by every output that is a matrix; each is computed once."""
        return {name: value.argmax(1) for name, value in self.values.items() if value.ndim == 2}

    def of_target(self, target: str) -> tuple[Tensor | None, int]:
        """Return the class that the network predicts for a target, and the number of classes.

        The output of the target's name has its scores, where there is one; else they are the network's own.
        """
        name = self.name_of(target)
        if not self.has_scores_of(target):
            return self.predicted, self.scores
        return self._classes[name], self.values[name].shape[1]

    def name_of(self, target: str) -> str:
        """Return the name in `values` of a target's output."""
        return self.heads.get(target, target)

    def has_scores_of(self, target: str) -> bool:
        """Return whether one of several outputs has the class scores of a target, instead of the network's own."""
        values = self.values.get(self.name_of(target))
        return values is not None and values.ndim == 2

    @classmethod
    def of(
        cls, logits: Tensor | None, axis: int, values: Mapping[str, Tensor], heads: Mapping[str, str] | None = None
    ) -> Answer:
        """Make an answer from class scores along an axis, and from the other outputs.

        Parameters
        ----------
        logits : Tensor or None
        axis : int
            Axis of the classes.
        values, heads : mapping
            As the attributes.
        """
        if logits is None:
            return cls(None, 0, values, heads or {})
        return cls(logits.argmax(axis), logits.shape[axis], values, heads or {})


def values_of(output: Any, size: int, axes: tuple[int, ...] = (1, 2)) -> dict[str, Tensor]:
    """Return the outputs that may be values of a target: tensors of real numbers with a row for every sample.

    Parameters
    ----------
    output : object
        Output of a network: a tensor, a mapping, a tuple or a list.
    size : int
        Samples in the batch.
    axes : tuple of int
        Numbers of axes that the tensors may have.

    Returns
    -------
    dict of str to Tensor
        By key in a mapping, or by place in a tuple (``"0"``). The only output, or the entry ``logits`` of several, has
        the empty name.
    """
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


def dense_scores(output: Any, reduction: str) -> Tensor | None:
    """Return class scores of every token ``(n, tokens, C)`` or pixel ``(n, C, h, w)``; None without any."""
    if isinstance(output, Mapping):
        output = output.get("logits", output.get("out"))
    output = getattr(output, "logits", output)
    axes = 3 if reduction == "tokens" else 4
    return output if isinstance(output, Tensor) and output.is_floating_point() and output.ndim == axes else None
