"""Every model type of transformers: small models of random weights, against configuration and hidden states."""

from __future__ import annotations

import copy
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import torch
from torch import nn

from benchmarks.coverage.inputs import generated
from benchmarks.coverage.record import Record
from benchmarks.coverage.shrink import DEPTH, shrunken
from layerwise.adapters import adapter_named
from layerwise.adapters.protocol import Batch
from layerwise.network.graph.blocks import find_blocks
from layerwise.network.graph.trace import Trace, trace
from layerwise.network.inference import evaluating
from layerwise.network.layer import Layer

__all__ = ["examine", "layers_of_states", "names", "running"]

_KINDS = {
    "AutoModel": "MODEL_MAPPING_NAMES",
    "AutoModelForSequenceClassification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForImageClassification": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForAudioClassification": "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForTokenClassification": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForCausalLM": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
}
# The largest network that is tried, in parameters, and the longest that a working one is looked for, in
# seconds of the processor, so that a busy machine finds the same.
_MOST = 200_000_000
_LONGEST = 300


def names() -> list[str]:
    """Every type with every kind of model that there is of it, as ``KIND/TYPE``."""
    from transformers.models.auto import modeling_auto

    return [f"{kind}/{name}" for kind, table in _KINDS.items() for name in getattr(modeling_auto, table)]


def examine(name: str, known: Mapping[str, str]) -> Record:
    """Find the layers of one type, and say what is wrong with them; all are examined, whatever is `known`."""
    kind, _, family = name.partition("/")
    record = Record("transformers", name, family)
    try:
        model, inputs = running(kind, family)
    except _Failure as failure:
        return record.failed(failure.state, failure.error)
    adapter = adapter_named("huggingface")
    batch = Batch(inputs, {"label": torch.zeros(2, dtype=torch.int64)}, 2, None)
    with _same_chance():
        traced = trace(model, lambda: adapter.forward(model, batch))
    head = adapter.head(model)
    layers = find_blocks(traced, head)
    record.layers = len(layers)
    repeated = [name for name, count in Counter(layer.name for layer in layers).items() if count > 1]
    record.faults = [f"two layers are named {name}" for name in repeated]
    if "Classification" in kind and not any(layer.role == "logits" for layer in layers):
        record.faults.append("no layer is the classifier")
    record.faults += _against_hidden_states(model, batch, layers)
    return record


class _Failure(Exception):
    """A model that cannot be made, or does not run without a hook in it."""

    def __init__(self, state: str, error: BaseException) -> None:
        self.state, self.error = state, error


def running(kind: str, family: str) -> tuple[nn.Module, dict[str, Any]]:
    """A small model that runs, and what goes into it."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    automatic = getattr(transformers, kind)
    first: _Failure | None = None
    try:
        default = CONFIG_MAPPING[family]()
    except Exception as error:
        raise _Failure("not made", error) from error
    started = time.process_time()
    for config in shrunken(default):
        if time.process_time() - started > _LONGEST:
            break
        try:
            config.dtype = None
            texts = config.get_text_config()
            if getattr(texts, "pad_token_id", 0) is None:
                texts.pad_token_id = 0
            with torch.device("meta"):
                size = sum(item.numel() for item in automatic.from_config(copy.deepcopy(config)).parameters())
            if size > _MOST:
                raise MemoryError(f"{size:,} parameters in its smallest form")
            torch.manual_seed(0)
            model = automatic.from_config(config).eval()
        except Exception as error:
            first = first or _Failure("not made", error)
            continue
        for inputs in generated(model):
            try:
                with evaluating(model), _same_chance():
                    adapter_named("huggingface").forward(
                        model, Batch(inputs, {"label": torch.zeros(2, dtype=torch.int64)}, 2, None)
                    )
                return model, inputs
            except Exception as error:
                first = first if first is not None and first.state == "not run" else _Failure("not run", error)
    raise first or _Failure("not made", ValueError("no smaller configuration is accepted"))


def _against_hidden_states(model: Any, batch: Batch, layers: list[Layer]) -> list[str]:
    """Lists of hidden states of which one is no layer, and counts of layers that the configuration does not have."""
    adapter = adapter_named("huggingface")
    inputs = {**batch.inputs, "output_hidden_states": True}
    try:
        with _same_chance():
            traced = trace(model, lambda: adapter.forward(model, Batch(inputs, batch.labels, batch.size, None)))
    except Exception:
        return _against_configuration(model, layers)
    lists = _hidden_states(traced)
    if not lists:
        return _against_configuration(model, layers)
    values = layers_of_states(traced, layers)
    faults = []
    for name, states in lists.items():
        places = [values.get(state, -1) for state in states]
        inner = places[1:-1]
        missing = [
            place
            for place, found in enumerate(inner, 1)
            if found < 0 and not _starts(traced, *states[place : place + 2])
        ]
        # Encoder and decoder in one list: what the decoder begins with is in between.
        inner = [place for place in inner if place >= 0]
        if missing:
            faults.append(f"{name}: {len(missing)} of {len(states)} are no layers, the first is number {missing[0]}")
        elif inner != sorted(inner):
            faults.append(f"{name}: not in the order of the layers")
        elif inner and not any(set(states) < set(others) for others in lists.values()):
            between = [layer for layer in layers[inner[0] : inner[-1] + 1] if layer.role != "stem"]
            if len(between) != len(inner) and not _of_stages(traced, layers, states[1:-1], inner):
                faults.append(f"{name}: {len(between)} layers where there are {len(inner)}")
    return faults


def _starts(traced: Trace, state: int, after: int) -> bool:
    """Whether a state is what the first of a list of modules takes, and the next one what it gives."""
    return any(
        call.path.rpartition(".")[2] == "0"
        and state in {slot.value for slot in call.inputs}
        and after in {slot.value for slot in call.outputs}
        for call in traced.calls
    )


def _of_stages(traced: Trace, layers: list[Layer], states: list[int], places: list[int]) -> bool:
    """Whether every hidden state comes out of a module that holds the layers since the last one, and no others."""
    from layerwise.network.graph.dataflow import graph

    live = graph(traced)
    for state, before, place in zip(states[1:], places, places[1:], strict=False):
        paths = [layer.path.split(".") for layer in layers[before + 1 : place + 1]]
        common = ".".join(
            first[0] for first in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
        )
        around = {".".join(common.split(".")[:length]) for length in range(1, common.count(".") + 2)}
        outputs = (slot.value for call in traced.calls if call.path in around for slot in call.outputs)
        if live.same(state) not in map(live.same, outputs):
            return False
    return True


def _hidden_states(traced: Trace) -> dict[str, list[int]]:
    """The lists of hidden states among what a model gives, by where they are."""
    found: dict[str, list[int]] = {}
    for slot in traced.outputs:
        *path, last = slot.item
        if path and isinstance(last, int) and str(path[-1]).endswith("hidden_states"):
            found.setdefault(".".join(map(str, path)), []).append(slot.value)
    return {name: states for name, states in found.items() if len(states) > 1}


def layers_of_states(traced: Trace, layers: list[Layer]) -> dict[int, int]:
    """The place of the layer that each value is.

    Views of it are, what a norm makes of it, and what is left of its positions where padding, prompts or a second
    stream are cut off.
    """
    from layerwise.network.graph.dataflow import graph

    live = graph(traced)
    calls = {(call.path, call.number): call for call in traced.calls}
    found: dict[int, int] = {}
    for place, layer in enumerate(layers):
        call = calls[layer.path, layer.call]
        for slot in call.outputs if layer.side == "output" else call.inputs:
            if slot.item == layer.item:
                found.setdefault(live.same(slot.value), place)
    normed = dict(found)
    for call in traced.calls:
        if call.leaf and not traced.modules[call.path].matrix:
            taken = [found[live.same(slot.value)] for slot in call.inputs if live.same(slot.value) in found]
            for slot in call.outputs if taken else ():
                normed.setdefault(live.same(slot.value), taken[0])
    places: dict[int, int] = {}
    for slot in traced.outputs:
        value = live.same(slot.value)
        while value not in normed and (whole := _whole(traced, live.maker.get(value))) is not None:
            value = live.same(whole)
        if value in normed:
            places[slot.value] = normed[value]
    return places


def _whole(traced: Trace, maker: int | None) -> int | None:
    """What an operation cuts a run of positions out of."""
    operation = traced.operations[maker] if maker is not None else None
    if operation is None or operation.name != "slice":
        return None
    (whole, *_), (part, *_) = operation.inputs, operation.outputs
    sizes = traced.values[whole].shape, traced.values[part].shape
    return whole if sizes[0][:1] + sizes[0][2:] == sizes[1][:1] + sizes[1][2:] else None


def _against_configuration(model: Any, layers: list[Layer]) -> list[str]:
    lists = Counter(layer.path.rpartition(".")[0] for layer in layers if layer.path.rpartition(".")[2].isdigit())
    repeated = Counter(layer.path for layer in layers)
    there = {*lists.values(), *repeated.values()}
    expected = _depths(model.config)
    return [
        f"the configuration has {count} layers, found are {sorted(there)}" for count in expected if count not in there
    ]


def _depths(config: Any) -> list[int]:
    """The layers that a configuration itself counts, those of its parts apart."""
    if isinstance(getattr(config, "depths", None), (list, tuple)):
        return list(config.depths)
    return sorted({value for name, value in vars(config).items() if DEPTH.match(name) and isinstance(value, int)})


@contextmanager
def _same_chance() -> Iterator[None]:
    """Python's and torch's random numbers from the same seed: some models draw even when they rest."""
    state = random.getstate()
    random.seed(0)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield
    random.setstate(state)
