"""What an adapter must do: load a model by name, run a batch through it, and say what the network itself does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

__all__ = ["Adapter", "Batch"]


@dataclass(frozen=True)
class Batch:
    """A batch in the form that a model takes, with its labels apart.

    Attributes
    ----------
    inputs : Any
        A tensor, or a tuple or mapping of what the model's forward takes.
    labels : dict of str to Tensor
        Labels of every target, shape ``(n,)`` each.
    size : int
        Number of samples.
    mask : Tensor or None
        Attention mask, shape ``(n, tokens)``: 0 for padding.
    masks : dict of str to Tensor
        All masks of padding by the name of their input, `mask` first: each may be of a text of its own.
    """

    inputs: Any
    labels: Mapping[str, Tensor]
    size: int
    mask: Tensor | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Adapter(Protocol):
    """The side of the library that knows where a model comes from. Found by the entry point ``layerwise.adapters``.

    A third party adds one by naming a class in that entry-point group; nothing here needs to change.
    """

    #: First part of model names, such as ``"timm"`` in ``timm/resnet50``.
    name: str

    #: Names of masks of padding, and whether they are true of real positions; if not, they are true of padding.
    masks: Mapping[str, bool]

    def claims(self, model: nn.Module) -> bool:
        """Whether this adapter knows the model; the most particular adapter that does is taken."""

    def load(self, name: str) -> nn.Module:
        """The model of that name, with its weights, in evaluation mode.

        An adapter whose models may bring code has a second parameter, ``trust_remote_code=False``, and runs none
        without it.
        """

    def batch(self, raw: Any, device: torch.device) -> Batch:
        """Split what a loader gives into inputs, on the device, and labels, on that of its statistics."""

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Run one forward."""

    def logits(self, output: Any) -> Tensor | None:
        """The class scores in the forward's output, shape ``(n, C)``; None if there are none."""

    def head(self, model: nn.Module) -> str | None:
        """Path of the module that makes the logits; None to have it found in the graph of the network."""

    def prefix_tokens(self, model: nn.Module, batch: Batch) -> int:
        """Class and register tokens in front of the tokens that the input gives."""

    def virtual_tokens(self, model: nn.Module) -> int:
        """How many tokens of the prefix are trained ones that stand for no part of the input (prompt tuning)."""

    def mask_at(self, model: nn.Module, mask: Tensor, length: int) -> Tensor:
        """The attention mask at a layer of so many positions, fewer or more than the mask's by a factor."""

    def pooling(self, model: nn.Module) -> str:
        """How the network itself pools tokens: ``"cls"``, ``"mean"`` or ``"last"``."""

    def prepare(self, model: nn.Module) -> Callable[[Sequence[Any]], Any] | None:
        """The preprocessing that the model was trained with, raw inputs to a batch's inputs; None if none is known."""

    def example(self, model: nn.Module) -> Any:
        """Inputs of two made-up samples, to see the layers without any data."""
