"""A model with its adapter, its device and its heads: batches are prepared for it, and one is traced through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from layerwise.adapters.protocol import Adapter, Batch
from layerwise.errors import InvalidData, LayerwiseError, cause_text
from layerwise.network.answer import values_of
from layerwise.network.failures import where_it_failed
from layerwise.network.graph.axes import measured_trace
from layerwise.network.graph.records import Trace
from layerwise.network.graph.trace import trace
from layerwise.network.layer import Layer
from layerwise.network.mask_names import named_inputs, named_tensors, with_masks

__all__ = ["Network", "Traced"]


@dataclass(frozen=True)
class Traced:
    """A network's trace on a batch.

    Attributes
    ----------
    trace : Trace
    scored : bool
        Whether the adapter finds class scores in the network's output.
    outputs : tuple of str
        Names of the network's outputs that have a row for every sample (`layerwise.network.answer.values_of`).
    alone : bool
        Whether a few samples of the batch ran by themselves; if not, the whole batch was traced, and no axis measured.
    """

    trace: Trace
    scored: bool
    outputs: tuple[str, ...]
    alone: bool


@dataclass(frozen=True)
class Network:
    """A model, the adapter that runs it, and the device that it runs on.

    Attributes
    ----------
    model : Module
    adapter : Adapter
    device : device
    scores : Layer, optional
        The layer with the class scores, for networks whose output does not show them.
    heads : mapping of str to str, optional
        The output or layer that judges a target, by target, where the caller names it.
    judges : sequence of Layer, optional
        The layers among those.
    """

    model: nn.Module
    adapter: Adapter
    device: torch.device
    scores: Layer | None = None
    heads: Mapping[str, str] = field(default_factory=dict)
    judges: Sequence[Layer] = ()

    @property
    def head(self) -> str | None:
        """Path of the module that makes the logits, if the adapter knows it."""
        return self.adapter.head(self.model)

    def trace(self, batch: Batch) -> Traced:
        """Trace a few samples of a batch, and measure the axes of all layers.

        Where a few samples cannot run alone, the whole batch is traced, and no axis is measured.

        Raises
        ------
        InvalidData
            If the network does not run on the batch.
        """
        scored = False
        outputs: tuple[str, ...] = ("",)

        def run(part: Batch) -> Any:
            nonlocal scored, outputs
            output = self.adapter.forward(self.model, part)
            scored = self.adapter.logits(output) is not None
            outputs = tuple(values_of(output, part.size))
            return output

        try:
            names = [name for name, _ in named_tensors(self.model, batch.inputs)]
            return Traced(measured_trace(self.model, run, batch, names), scored, outputs, alone=True)
        except LayerwiseError:
            raise
        except Exception:
            # The whole batch may still run: nodes of one graph, a state for the batch, a program exported for one size.
            pass
        try:
            return Traced(trace(self.model, lambda: run(batch)), scored, outputs, alone=False)
        except LayerwiseError:
            raise
        except Exception as error:
            where = where_it_failed(self.model, error)
            raise InvalidData(f"the network fails on the first batch: {cause_text(error)} {where}".strip()) from error

    def batch(self, raw: Any) -> Batch:
        """Split a loader's batch into inputs and labels, move it to the device, and find its masks of padding."""
        pick = getattr(self.adapter, "pick", None)
        batch = self.adapter.batch(raw if pick is None else pick(raw, self.model), self.device)
        return with_masks(batch, named_inputs(self.model, batch.inputs), self.adapter.masks)

    def batches(self, loader: Any) -> Iterator[Batch]:
        """Yield the loader's batches, as `batch` prepares them."""
        return map(self.batch, loader)
