"""The protocol of adapters: load a model by name, run a batch through it, and describe the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

__all__ = ["Adapter", "Batch"]


@dataclass(frozen=True)
class Batch:
    """A batch in the form that a model takes, and its labels.

    Attributes
    ----------
    inputs : Any
        A tensor, or a tuple or mapping of arguments of the model's forward.
    labels : dict of str to Tensor
        Labels of every target, shape ``(n,)`` each.
    size : int
        Number of samples.
    mask : Tensor or None
        Attention mask, shape ``(n, tokens)``: 0 for padding.
    masks : dict of str to Tensor
        All masks of padding by the name of their input, `mask` first; each may belong to another text.
    """

    inputs: Any
    labels: Mapping[str, Tensor]
    size: int
    mask: Tensor | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Adapter(Protocol):
    """Loads and runs one kind of model. Third parties name a class in the entry-point group ``layerwise.adapters``."""

    #: First part of model names, such as ``"timm"`` in ``timm/resnet50``.
    name: str

    #: Names of masks of padding, and whether a mask is true at real positions; otherwise it is true at padding.
    masks: Mapping[str, bool]

    def claims(self, model: nn.Module) -> bool:
        """Whether this adapter is for the model; the most specific adapter is chosen."""

    def load(self, name: str) -> nn.Module:
        """Load the model of that name, with its weights, in evaluation mode.

        An adapter whose models may need code of their own has a second parameter, ``trust_remote_code=False``, and runs
        such code only if it is true.
        """

    def batch(self, raw: Any, device: torch.device) -> Batch:
        """Split a batch of a loader into inputs, on the device, and labels, on the device of statistics."""

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Run one forward."""

    def logits(self, output: Any) -> Tensor | None:
        """Return the class scores in the forward's output, shape ``(n, C)``; None if there are none."""

    def head(self, model: nn.Module) -> str | None:
        """Return the path of the module that makes the logits; None to search the graph of the network."""

    def prefix_tokens(self, model: nn.Module, batch: Batch) -> int:
        """Return the number of class, register and other tokens before those of the input."""

    def virtual_tokens(self, model: nn.Module) -> int:
        """Return the number of prefix tokens that are trained and are no part of the input (prompt tuning)."""

    def mask_at(self, model: nn.Module, mask: Tensor, length: int) -> Tensor:
        """Return the attention mask for a layer of `length` positions, fewer or more than the mask's by a factor."""

    def pooling(self, model: nn.Module) -> str:
        """Return how the network itself pools tokens: ``"cls"``, ``"mean"`` or ``"last"``."""

    def prepare(self, model: nn.Module) -> Callable[[Sequence[Any]], Any] | None:
        """Return the model's preprocessing, from raw inputs to those of a batch; None if none is known."""

    def example(self, model: nn.Module) -> Any:
        """Make inputs of two samples, to list the layers without data."""
