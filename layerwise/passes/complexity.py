"""The pass that takes derivatives: geometric complexity of every target and layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.errors import NonFiniteFeatures
from layerwise.features.derivatives.directions import directions_of
from layerwise.features.derivatives.forward_mode import differentiating
from layerwise.network.network import Network
from layerwise.passes.checks import checked_labels
from layerwise.passes.request import PassRequest
from layerwise.passes.result import Key, SplitResult
from layerwise.runtime.distributed import rank_and_world_size
from layerwise.runtime.statistics_device import statistics_device
from layerwise.statistics import ComplexitySums, State, restore, state_of
from layerwise.statistics.merging import merge_across_processes

__all__ = ["ComplexityPass"]


class ComplexityPass:
    """Accumulates the squared derivatives of one split into its evidence: `take` while it is `open`; then `finish`.

    Parameters
    ----------
    request : PassRequest
    result : SplitResult
        The result of pass 1 over the same split, whose evidence is extended.
    network : Network
    """

    def __init__(self, request: PassRequest, result: SplitResult, network: Network) -> None:
        self.request = request
        self.result = result
        self.network = network
        self.samples = 0
        self.sums: dict[Key, ComplexitySums] = {}
        # Processes that share the data draw independently.
        self.device = statistics_device(network.device)
        self.directions = directions_of(request.settings.directions, request.settings.seed, rank_and_world_size()[0])

    @contextmanager
    def open(self) -> Iterator[None]:
        """Put the network's hooks on for all batches."""
        with differentiating(self.network, self.request.readings, self.directions) as self._derive:
            yield

    def take(self, batch: Batch, number: int) -> None:
        """Take in a batch.

        Raises
        ------
        NonFiniteFeatures
            If a derivative is NaN or infinite, and such samples are not left out.
        """
        self.samples += batch.size
        for name, (squares, errors) in self._derive(batch).items():
            kept = torch.isfinite(squares)
            if self.request.settings.nonfinite == "raise" and not bool(kept.all()):
                share = 1 - float(kept.double().mean())
                raise NonFiniteFeatures(
                    f"the derivative of layer {name!r} has NaN or infinity in {share:.1%} of the samples of batch "
                    f"{number}; nonfinite='drop' leaves such samples out"
                )
            for target, values in batch.labels.items():
                labels = self._rows(target, values)
                self._update((target, name), squares[kept], errors[kept], labels.to(kept.device)[kept])

    def state(self) -> State:
        """Return what was accumulated so far, and the state of the random directions."""
        return {
            "samples": self.samples,
            "sums": {key: state_of(sums) for key, sums in self.sums.items()},
            "directions": self.directions.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.samples = state["samples"]
        self.sums = {
            key: restore(self._fresh(key, self.device), held, self.device) for key, held in state["sums"].items()
        }
        self.directions.restore(state["directions"])

    def finish(self, shared: bool) -> None:
        """Put the sums into the evidence, with those of the other processes if the samples are shared."""
        for key, evidence in self.result.evidence.items():
            make = partial(self._fresh, key, self.device)
            evidence["complexity"] = merge_across_processes(
                self.sums.get(key, make()), make, self.device, shared
            ).finish()
        self.sums.clear()

    def _update(self, key: Key, squares: Tensor, errors: Tensor, labels: Tensor) -> None:
        if key not in self.sums:
            self.sums[key] = self._fresh(key, squares.device)
        self.sums[key].update(squares, errors, labels)

    def _rows(self, target: str, values: Tensor) -> Tensor:
        """The class of every sample; those of a regression target are of one class."""
        if target not in self.request.vocabularies:
            return values.new_zeros(len(values), dtype=torch.int64)
        return self.request.vocabularies[target].rows(checked_labels(values, target, self.request.classes))

    def _fresh(self, key: Key, device: torch.device) -> ComplexitySums:
        return ComplexitySums(self.result.classes.get(key[0], 1), device)
