"""The layers of a profile: how each is read, and which linear maps and heads of the network read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from layerwise.adapters.protocol import Batch
from layerwise.errors import UnknownName, listed
from layerwise.evaluation.evaluate import Evaluation
from layerwise.features.choose_readings import readings_of
from layerwise.features.fed_heads import find_fed_heads
from layerwise.features.pooling import poolings_of
from layerwise.features.reading import LayerReading
from layerwise.network.graph.blocks import choose_among, find_blocks, without_samples
from layerwise.network.graph.head_inputs import heads_of
from layerwise.network.graph.linear_maps import head_paths, named_heads, next_linear, previous_linear
from layerwise.network.layer import Layer, chosen_text
from layerwise.network.network import Network, Traced
from layerwise.network.rows import first_samples
from layerwise.profiling.metric_selection import MetricSelection
from layerwise.profiling.positions import no_positions
from layerwise.profiling.prepare import Inputs
from layerwise.profiling.stated_heads import find_judges, score_layers
from layerwise.runtime.distributed import is_secondary_process
from layerwise.runtime.progress import logger
from layerwise.settings import Settings

__all__ = ["LayerSelection", "select_layers"]

# Samples that show which layers feed a head.
_FEW = 4


@dataclass(frozen=True)
class LayerSelection:
    """A network whose layers are chosen.

    Attributes
    ----------
    network : Network
        With the layer of its class scores, and the heads that judge targets.
    traced : Traced
    readings : list of LayerReading
        The layers, in execution order.
    evaluation : Evaluation
        Conventions, and the linear maps and heads of the network that read the layers.
    network_pooling : str
        How the network itself pools.
    pooling_difference : str
        A line on where ``reduce="auto"`` differs from that; empty where it does not.
    without_samples : list of Layer
        Layers that are left out because no axis follows the number of samples.
    """

    network: Network
    traced: Traced
    readings: list[LayerReading]
    evaluation: Evaluation
    network_pooling: str
    pooling_difference: str
    without_samples: list[Layer]

    @property
    def layers(self) -> list[Layer]:
        """The layers, in execution order."""
        return [reading.layer for reading in self.readings]


def select_layers(
    bare: Network, settings: Settings, inputs: Inputs, metrics: MetricSelection, first: Batch
) -> LayerSelection:
    """Trace the network on the first batch, and choose its layers, readings and heads.

    Raises
    ------
    UnknownName
        If there is no such layer, target or head.
    InvalidData
        If the network does not run on the batch, or no layer can be read as asked.
    """
    traced = bare.trace(first)
    blocks = find_blocks(traced.trace, bare.head)
    network, judges = _with_heads(bare, traced, blocks, settings, inputs.targets)
    layers = choose_among(traced.trace, blocks, settings.layers)
    if not layers:
        names = (layer.name for layer in choose_among(traced.trace, blocks, "all"))
        raise UnknownName("layer", "chosen by " + chosen_text(settings.layers), names)
    poolings = poolings_of(network, first)
    network_pooling, difference = poolings.told(layers)

    def read(some: Sequence[Layer]) -> list[LayerReading]:
        return readings_of(network, traced.trace, some, first, settings.reduce, settings.seed, poolings)

    readings = read(layers)
    if not readings:
        raise no_positions(settings.reduce, layers, first)
    stated = dict(network.heads) | {target: layer.path for target, layer in judges.items()}
    paths = head_paths(traced.trace, stated)
    fed: set[tuple[str, str]] = set()
    if any({"classifier", "head"} & set(metric.needs) for metric in metrics.metrics):
        of_heads = heads_of(traced.trace, network.head, list(paths.values()))
        few = first_samples(first, _FEW) if traced.alone else first
        fed = find_fed_heads(network, traced.trace, readings, of_heads, few, read)
    evaluation = Evaluation(
        *(network.model, readings, settings, metrics.convention, inputs.dimensions),
        next_maps=next_linear(traced.trace, layers),
        previous_maps=previous_linear(traced.trace, layers),
        heads=named_heads(traced.trace, layers, stated)
        | {(target, layer): path for target, path in paths.items() for fed_path, layer in fed if fed_path == path},
        fed=fed,
    )
    dropped = without_samples(traced.trace, blocks, settings.layers)
    return LayerSelection(network, traced, readings, evaluation, network_pooling, difference, dropped)


def _with_heads(
    network: Network, traced: Traced, blocks: Sequence[Layer], settings: Settings, targets: Sequence[str]
) -> tuple[Network, dict[str, Layer]]:
    """Return the network with its class scores and judging heads, and the judging layers by target."""
    scores = network.scores if traced.scored else _find_scores(blocks, settings, targets)
    heads = dict(settings.heads or {})
    judges = find_judges(heads, traced.trace, traced.outputs, targets)
    return replace(network, scores=scores, heads=heads, judges=tuple(judges.values())), judges


def _find_scores(blocks: Sequence[Layer], settings: Settings, targets: Sequence[str]) -> Layer | None:
    """Find the layer of the class scores, for a network whose output does not say which they are; None for several."""
    layers = score_layers(blocks)
    if len(layers) > 1 and len(targets) == 1 and not settings.heads:
        if not is_secondary_process():
            names = listed([repr(layer.name) for layer in layers])
            logger.warning("%s give as many scores: heads={%r: name} says whose they are", names, targets[0])
        return None
    return layers[-1] if layers else None
