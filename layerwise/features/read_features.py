"""Run a network and read the features of its layers in the same forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData
from layerwise.features.end import token_ids
from layerwise.features.masks import check_some_real
from layerwise.features.reading import LayerReading
from layerwise.features.reduction import DENSE
from layerwise.network.answer import Answer, dense_scores, values_of
from layerwise.network.capture import Capture
from layerwise.network.inference import evaluating
from layerwise.network.layer import Layer
from layerwise.network.network import Network
from layerwise.runtime.statistics_device import for_statistics

__all__ = ["reading_features"]


@contextmanager
def reading_features(
    network: Network, readings: Sequence[LayerReading], receive: Callable[[LayerReading, Tensor], None]
) -> Iterator[Callable[[Batch], Answer]]:
    """Hook the layers of a network; yield a function that runs a batch and returns the network's answer.

    While a batch runs, `receive` takes the features of each layer as soon as the layer has fired. Nothing is kept. The
    hooks are removed at the end of the context.

    Parameters
    ----------
    network : Network
    readings : sequence of LayerReading
    receive : callable
        Called with a reading and its features (`LayerReading.read`) from within the forward, on the device that keeps
        statistics (`layerwise.runtime.statistics_device`).

    Yields
    ------
    callable
        ``run(batch)``, which returns the `Answer` of the network. It raises `InvalidData` if a sample is nothing but
        padding, or if the network's output has a row for every sample in some batches only.
    """
    by_layer = {reading.layer: reading for reading in readings}
    dense = next((reading.reduction for reading in readings if reading.reduction in DENSE), None)
    scores: list[Tensor] = []
    judged: dict[str, Tensor] = {}
    mask: Tensor | None = None
    masks: Mapping[str, Tensor] = {}
    ids: Tensor | None = None
    size = 0
    # Whether the last batch had class scores and an output with a row for every sample; None before the first batch.
    answered: tuple[bool, bool] | None = None

    def take(layer: Layer, activation: Tensor) -> None:
        if layer == network.scores:
            scores[:] = [activation]
        if layer in network.judges:
            judged[layer.name] = layer.samples_first(activation, size)
        if layer not in by_layer:
            return
        features = by_layer[layer].read(layer.samples_first(activation, size), mask, ids, masks)
        receive(by_layer[layer], for_statistics(features))

    layers = list(dict.fromkeys([*by_layer, *([] if network.scores is None else [network.scores]), *network.judges]))
    with evaluating(network.model), Capture(network.model, layers, take) as capture:

        def run(batch: Batch) -> Answer:
            nonlocal mask, masks, ids, size, answered
            mask, masks, ids, size = batch.mask, batch.masks, token_ids(batch.inputs), batch.size
            if dense is None:
                for padding in masks.values() or [mask]:
                    check_some_real(padding)
            with capture.forward():
                output = network.adapter.forward(network.model, batch)
            if dense is not None:
                values = {} if dense == "pixels" else values_of(output, size, (2, 3))
                return Answer.of(dense_scores(output, dense), 1 if dense == "pixels" else -1, values)
            logits = network.adapter.logits(output) if network.scores is None else scores.pop()
            answer = Answer.of(logits, 1, {**values_of(output, size), **judged}, network.heads)
            answers = (answer.predicted is not None, "" in answer.values)
            if answered is not None and answered != answers:
                have = "some" if sum(answers) > sum(answered) else "none"
                raise InvalidData(
                    "the network's output has a row for every sample in some batches, and not in others: one of "
                    f"{size} has {have}. A squeeze may drop the axis of a batch of one: squeeze(1), or "
                    "drop_last=True, keeps it"
                )
            answered = answers
            return answer

        yield run
