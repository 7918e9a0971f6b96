"""Sweeps over one split: its batches run through the network into the passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from layerwise.adapters.protocol import Batch
from layerwise.features.read_features import reading_features
from layerwise.network.failures import in_batch
from layerwise.passes.checks import where_not_finite
from layerwise.passes.complexity import ComplexityPass
from layerwise.passes.first import FirstPass
from layerwise.passes.first_features import FirstFeatures, changed_layers, first_features
from layerwise.passes.positions.first import PositionsFirstPass
from layerwise.passes.positions.second import PositionsSecondPass
from layerwise.passes.request import PassRequest
from layerwise.passes.resume import Resumable, ResumeState
from layerwise.passes.second import SecondPass
from layerwise.passes.split_batches import SplitBatches

__all__ = ["Sweep"]


@dataclass(frozen=True)
class Sweep:
    """Runs the batches of one split through the network, each pass from where it was interrupted.

    Attributes
    ----------
    batches : SplitBatches
    request : PassRequest
    resume_state : ResumeState or None
    beforehand : int
        Digest of what was read of the split before the passes.
    """

    batches: SplitBatches
    request: PassRequest
    resume_state: ResumeState | None
    beforehand: int

    def first(self, first: FirstPass | PositionsFirstPass) -> None:
        """Run pass 1, and record the network's features of the first batch for a later resumption.

        Raises
        ------
        NonFiniteFeatures
            If a feature is NaN or infinite, and samples are not to be left out.
        """
        network, readings = self.batches.network, self.request.readings
        resumed = self._resumed("pass 1", first)
        state = self.resume_state
        unknown = state is not None and state.features is None
        features = FirstFeatures()
        receive = features.before(first.receive) if unknown else first.receive
        with reading_features(network, readings, receive) as run:
            for number, batch in resumed:
                with in_batch(network.model, self.batches.split, "pass 1", number):
                    first.begin(batch, number)
                    answer = run(batch)
                    if unknown and state is not None and not features.ended:
                        features.end(answer)
                        state.features = features.sums
                    first.end(answer)
                    if not first.finite:
                        raise where_not_finite(self.request, network, batch, number)

    def derivatives(self, complexity: ComplexityPass) -> None:
        """Run the pass that takes derivatives."""
        resumed = self._resumed("derivatives", complexity)
        with complexity.open():
            self._run("derivatives", resumed, complexity.take)

    def second(self, second: SecondPass | PositionsSecondPass) -> None:
        """Run pass 2 through the network again."""
        resumed = self._resumed("pass 2", second)
        with reading_features(self.batches.network, self.request.readings, second.receive) as run:

            def take(batch: Batch, _: int) -> None:
                second.begin(batch)
                second.end(run(batch))

            self._run("pass 2", resumed, take)

    def _run(self, step: str, batches: Iterator[tuple[int, Batch]], take: Callable[[Batch, int], None]) -> None:
        for number, batch in batches:
            with in_batch(self.batches.network.model, self.batches.split, step, number):
                take(batch, number)

    def _resumed(self, step: str, resumable: Resumable) -> Iterator[tuple[int, Batch]]:
        """The numbered batches that a pass has not taken in yet; its state is restored."""
        batches = self.batches.read(step)
        if self.resume_state is None:
            return enumerate(batches)
        return self.resume_state.resumed(
            self.batches.split, step, batches, resumable, beforehand=self.beforehand, changed=self._changed_layers
        )

    def _changed_layers(self, batch: Batch) -> list[str]:
        """The layers whose features of the first batch differ from the recorded ones."""
        before = None if self.resume_state is None else self.resume_state.features
        if before is None:
            return []
        network = self.batches.network
        return changed_layers(before, first_features(network, self.request.readings, batch), network)
