"""A model made ready to be measured: its adapter, its device, and how each chosen layer is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.adapters.protocol import Adapter, Batch
from layerwise.capture import Capture
from layerwise.errors import InvalidData, LayerwiseError, cause_text
from layerwise.failures import where_it_failed
from layerwise.features.end import End, token_ids
from layerwise.features.mask_names import named_inputs, named_tensors, with_masks
from layerwise.features.masks import Rescale, check_some_real, mask_of_layer, mask_that_follows
from layerwise.features.pooling import Pooling, Poolings, measured_poolings
from layerwise.features.precision import rounding_of_arithmetic
from layerwise.finding.axes import measured_trace
from layerwise.finding.pooling import pooling_of
from layerwise.finding.trace import Trace, trace
from layerwise.finding.variations import chosen_rows
from layerwise.layers import Layer
from layerwise.quiet import quiet
from layerwise.reduce import DENSE, Tokens, is_tokens, positions, reduce, reduction_of
from layerwise.runtime.statistics_device import for_statistics
from layerwise.runtime.tensors import resampled
from layerwise.sketch import Sketch

__all__ = ["Answer", "Network", "Reading", "Traced", "first_samples", "part_of", "readings_of", "values_of"]


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


@dataclass(frozen=True)
class Reading:
    """A layer and how it is read.

    Attributes
    ----------
    layer : Layer
    reduction : str
        As `layerwise.reduce.reduce` takes it; never ``auto``.
    features : int
        Features after reduction and projection, ``d``.
    projection : Sketch or None
        The random projection that ``sketch:k`` asks for.
    prefix : int
        Class and register tokens in front of the layer's other tokens.
    positions : tuple of int
        Height and width, or none, of what a layer holds of a sample where every pixel is read; of tokens only their
        number, which may differ from batch to batch.
    virtual : bool
        Whether the prefix is none of the sample's, as the trained tokens of prompt tuning.
    rescale : callable
        Takes an attention mask to a layer whose positions are fewer or more by a factor.
    end : End or None
        The rule that picks the token to read, where it is picked by the numbers of the tokens.
    rounding : float
        Relative rounding of the coarsest arithmetic that makes the layer.
    """

    layer: Layer
    reduction: str
    features: int
    projection: Sketch | None = None
    prefix: int = 0
    positions: tuple[int, ...] = ()
    virtual: bool = False
    rescale: Rescale = field(default=resampled, compare=False)
    end: End | None = None
    rounding: float = 0.0

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def stated(self) -> str:
        """The reduction as the Dataset states it."""
        return f"sketch:{self.projection.width}" if self.projection else self.reduction

    def read(
        self,
        activation: Tensor,
        mask: Tensor | None = None,
        ids: Tensor | None = None,
        masks: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """Features of shape ``(n, d)`` from an activation with its samples in front, and its batch's masks and tokens.

        Where every token or pixel is read, of shape ``(n, tokens, d)`` or ``(n, h, w, d)``.

        Raises
        ------
        InvalidData
            If they are not as many as in the first batch: a flattened layer of texts of unequal length, say.
        """
        if self.reduction in DENSE:
            apart = positions(activation, self.reduction, self.layer.channels, self.prefix, self.positions)
            found = () if apart is None else apart.shape[1:-1]
            if apart is None or (self.reduction == "pixels" and found != self.positions):
                raise InvalidData(
                    f"layer {self.name!r} has pixels of shape {tuple(found)} in this batch and had {self.positions}; "
                    "reduction 'pixels' needs pictures of one size"
                )
            return apart
        mask = self._end_mask(ids) if self.end else self._mask(activation, mask, masks)
        tokens = Tokens(mask, self.prefix, self.layer.axes.masked or (1,))
        features = reduce(activation, self.reduction, self.layer.channels, tokens)
        if self.projection is not None:
            features = self.projection(features)
        if features.shape[1] != self.features:
            raise InvalidData(
                f"layer {self.name!r} has {features.shape[1]:,} features in this batch and had {self.features:,}; "
                f"reduction {self.stated!r} needs inputs of one size, 'mean' or 'gap' do not"
            )
        return features

    def _mask(self, activation: Tensor, mask: Tensor | None, masks: Mapping[str, Tensor]) -> Tensor | None:
        """The mask at the layer's positions."""
        axes, tokens = self.layer.axes, is_tokens(self.layer)
        if masks and axes.masked != () and (axes.masked or tokens):
            mask = mask_that_follows(mask, masks, axes.masks, activation.shape[1] - self.prefix)
        form = (mask, axes, activation.shape, self.prefix, self.rescale)
        return mask_of_layer(*form, tokens=tokens, virtual=self.virtual)

    def _end_mask(self, ids: Tensor | None) -> Tensor:
        """The mask of the one position that is picked by the numbers of the tokens."""
        assert self.end is not None
        if ids is None:
            raise InvalidData(
                f"layer {self.name!r} is read at the token that the network picks by the numbers of the tokens, "
                "and this batch has no 'input_ids'; choose another reduction"
            )
        return self.end.mask(ids)


@dataclass(frozen=True)
class Traced:
    """A network's trace on a batch.

    Attributes
    ----------
    trace : Trace
    scored : bool
        Whether the network's output tells the class scores.
    outputs : tuple of str
        Names of the network's outputs that have a row for every sample.
    alone : bool
        Whether a few samples of the batch ran by themselves; if not, the whole batch was traced, and no axis measured.
    """

    trace: Trace
    scored: bool
    outputs: tuple[str, ...]
    alone: bool


@dataclass(frozen=True)
class Network:
    """A model, the adapter that runs it, and where.

    Attributes
    ----------
    model : Module
    adapter : Adapter
    device : device
    scores : Layer, optional
        Where the class scores are, for networks whose output does not say so.
    heads : mapping of str to str, optional
        The output or layer that judges a target, by target, where the caller says so.
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
        """Path of the module that makes the logits, as far as the adapter knows it."""
        return self.adapter.head(self.model)

    def trace(self, batch: Batch) -> Traced:
        """Trace a few samples of a batch, and measure the axes of all layers; all of it, where a few cannot run alone.

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
            # Nodes of one graph, a state that is kept for the batch, a program exported for one size.
            pass
        try:
            return Traced(trace(self.model, lambda: run(batch)), scored, outputs, alone=False)
        except LayerwiseError:
            raise
        except Exception as error:
            where = where_it_failed(self.model, error)
            raise InvalidData(f"the network fails on the first batch: {cause_text(error)} {where}".strip()) from error

    @contextmanager
    def reading(
        self, readings: Sequence[Reading], receive: Callable[[Reading, Tensor], None]
    ) -> Iterator[Callable[[Batch], Answer]]:
        """Open the hooks; gives a function that runs a batch and returns what the network makes of it.

        Parameters
        ----------
        readings : sequence of Reading
        receive : callable
            Called with a reading and its features (`Reading.read`) from within the forward, on the device on which
            statistics are kept (`layerwise.runtime.statistics_device`).
        """
        by_layer = {reading.layer: reading for reading in readings}
        dense = next((reading.reduction for reading in readings if reading.reduction in DENSE), None)
        scores: list[Tensor] = []
        judged: dict[str, Tensor] = {}
        mask: Tensor | None = None
        masks: Mapping[str, Tensor] = {}
        ids: Tensor | None = None
        size = 0
        # Whether the network gave class scores and an output of samples so far; None before the first batch.
        answered: tuple[bool, bool] | None = None

        def take(layer: Layer, activation: Tensor) -> None:
            if layer == self.scores:
                scores[:] = [activation]
            if layer in self.judges:
                judged[layer.name] = layer.samples_first(activation, size)
            if layer not in by_layer:
                return
            features = by_layer[layer].read(layer.samples_first(activation, size), mask, ids, masks)
            receive(by_layer[layer], for_statistics(features))

        layers = list(dict.fromkeys([*by_layer, *([] if self.scores is None else [self.scores]), *self.judges]))
        with quiet(self.model), Capture(self.model, layers, take) as capture:

            def run(batch: Batch) -> Answer:
                nonlocal mask, masks, ids, size, answered
                mask, masks, ids, size = batch.mask, batch.masks, token_ids(batch.inputs), batch.size
                if dense is None:
                    for one in masks.values() or [mask]:
                        check_some_real(one)
                with capture.forward():
                    output = self.adapter.forward(self.model, batch)
                if dense is not None:
                    values = {} if dense == "pixels" else values_of(output, size, (2, 3))
                    return Answer.of(_scores_apart(output, dense), 1 if dense == "pixels" else -1, values)
                logits = self.adapter.logits(output) if self.scores is None else scores.pop()
                answer = Answer.of(logits, 1, {**values_of(output, size), **judged}, self.heads)
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

    def poolings(self, batch: Batch) -> Poolings:
        """How the network itself pools its positions, measured on a few samples of a batch."""
        prefix = self.adapter.prefix_tokens(self.model, replace(batch, mask=None))
        return measured_poolings(self.model, self.adapter, batch, self.head, prefix)

    def batch(self, raw: Any) -> Batch:
        """What a loader gives, split and moved to the device, with its mask of padding."""
        pick = getattr(self.adapter, "pick", None)
        batch = self.adapter.batch(raw if pick is None else pick(raw, self.model), self.device)
        return with_masks(batch, named_inputs(self.model, batch.inputs), self.adapter.masks)

    def batches(self, loader: Any) -> Iterator[Batch]:
        """The loader's batches, as `batch` gives them."""
        return map(self.batch, loader)


def readings_of(
    network: Network,
    traced: Trace,
    layers: Sequence[Layer],
    batch: Batch,
    how: str,
    seed: int,
    poolings: Poolings | None = None,
) -> list[Reading]:
    """How each layer is read: ``auto`` made definite, and the features counted.

    Where every token or pixel is read, layers that have none, or not as many as there are labels, are left out.

    Parameters
    ----------
    network : Network
    traced : Trace
        Of a part of `batch`.
    layers : sequence of Layer
        Those of the trace that are read.
    batch : Batch
    how : str
        The reduction that the caller asked for.
    seed : int
        Of random projections.
    poolings : Poolings, optional
        How the network itself pools, as it was measured; else it is read off the trace.
    """
    prefixes = _prefixes(network, batch)
    virtual = network.adapter.virtual_tokens(network.model) > 0
    rescale = partial(network.adapter.mask_at, network.model)
    roundings = rounding_of_arithmetic(network.model, traced, layers)
    if poolings is None:
        default = pooling_of(traced, network.head) or network.adapter.pooling(network.model)
        poolings = Poolings((), None, default)
    flat = poolings.flattens(layers)
    lengths = {value.shape[1] for value in traced.values if len(value.shape) == 3 and value.floating}
    labelled = next((values.shape[1:] for values in batch.labels.values()), ())
    readings = []
    for layer in layers:
        sketched = how.startswith("sketch:")
        prefix = prefixes(layer)
        # Where as many tokens and the prefix are found elsewhere, the prefix has still to be put in front.
        headless = prefix > 0 and is_tokens(layer) and layer.shape[0] + prefix in lengths
        own = 0 if headless or not is_tokens(layer) or layer.shape[0] <= prefix else prefix
        rounding = roundings[layer]
        empty = torch.empty(1, *layer.shape, device="meta", dtype=torch.complex64 if layer.is_complex else None)
        if how in DENSE:
            apart = positions(empty, how, layer.channels, own, tuple(labelled))
            if apart is not None and (how == "pixels" or apart.shape[1:-1] == labelled[:1] or not labelled):
                where = tuple(apart.shape[1:-1])
                readings.append(Reading(layer, how, apart.shape[-1], None, own, where, rounding=rounding))
            continue
        pooling = poolings.of(layer)
        pooled = pooling.how if flat or pooling.how != "flatten" else "mean"
        reduction = reduction_of(layer, "flatten" if sketched else how, pooled, headless=headless)
        end = _end(pooling, reduction, layer, network)
        width = reduce(empty, "last" if end else reduction, layer.channels, Tokens(prefix=own)).shape[1]
        projection = Sketch(width, int(how[7:]), seed) if sketched and width > int(how[7:]) else None
        features = projection.width if projection else width
        readings.append(Reading(layer, reduction, features, projection, own, (), virtual, rescale, end, rounding))
    return readings


def _prefixes(network: Network, batch: Batch) -> Callable[[Layer], int]:
    """How many tokens a layer has in front of those of the input: of a picture, or of the text that the mask is of."""
    count = network.adapter.prefix_tokens
    picture = count(network.model, replace(batch, mask=None))
    text = picture if batch.mask is None else count(network.model, batch)

    def prefix(layer: Layer) -> int:
        if layer.axes.masked:
            return text if layer.axes.ahead == text else 0
        return picture if layer.axes.masked == () else text

    return prefix


def _end(pooling: Pooling, reduction: str, layer: Layer, network: Network) -> End | None:
    """The rule that picks the token of a layer, where its reduction takes one by the numbers of the tokens.

    Raises
    ------
    InvalidData
        If the end token was asked for, and nothing says which it is.
    """
    if not is_tokens(layer) or reduction not in ("last", "eos"):
        return None
    if pooling.end is not None and pooling.how == reduction:
        return pooling.end
    if reduction == "last":
        return None
    config = getattr(network.model, "config", None)
    token = getattr(config, "eos_token_id", None)
    if not isinstance(token, int):
        raise InvalidData(
            "reduce='eos' reads the token that ends a text, and nothing says which: the network does not pick it, "
            "and its configuration has no one 'eos_token_id'; 'last' reads the last token that is no padding"
        )
    return End("first", token)


def first_samples(batch: Batch, count: int) -> Batch:
    """A batch of the first samples of another."""
    return part_of(batch, 0, count)


def part_of(batch: Batch, start: int, stop: int) -> Batch:
    """A batch of the samples of another from `start` on, up to `stop` or its end."""
    stop = min(stop, batch.size)
    return chosen_rows(batch, lambda values: values[start:stop], stop - start)


def _scores_apart(output: Any, how: str) -> Tensor | None:
    """Class scores of every token, shape ``(n, tokens, C)``, or pixel, ``(n, C, h, w)``, where the output has them."""
    if isinstance(output, Mapping):
        output = output.get("logits", output.get("out"))
    output = getattr(output, "logits", output)
    wanted = 3 if how == "tokens" else 4
    return output if isinstance(output, Tensor) and output.is_floating_point() and output.ndim == wanted else None


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
