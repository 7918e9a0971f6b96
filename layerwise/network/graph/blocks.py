"""The layers of any network, from one trace: no table of architectures, no configuration.

``choose(trace, chosen, head) -> list[Layer]`` is what a caller needs. Behind it are `find_blocks`, `find_stages`,
`leaves` and `all_calls`, which all take a `layerwise.network.graph.trace.Trace` and give layers in execution order.

A block's output is a *cut* of the operations' graph that a module makes. Containers whose children run as a chain of
cuts are opened; a module whose insides are jumped over by a residual, a branch or a gate is one block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from layerwise.network.graph.axes import laid_out
from layerwise.network.graph.classifiers import classifiers_of
from layerwise.network.graph.dataflow import Graph, graph
from layerwise.network.graph.records import Call, Slot, Trace
from layerwise.network.graph.search import Found, Search
from layerwise.network.layer import Axes, Layer, select

__all__ = ["all_calls", "choose", "choose_among", "find_blocks", "find_stages", "leaves", "without_samples"]

# A list holds the network's weights when it has this share of what the largest has.
_LARGE = 0.1

Chosen = str | Sequence[str] | Callable[[Layer], bool]


def choose(trace: Trace, chosen: Chosen = "blocks", head: str | None = None) -> list[Layer]:
    """The layers that a caller chose, in execution order; by a word only those that keep samples apart.

    Parameters
    ----------
    trace : Trace
    chosen : str, sequence of str or callable
        ``"blocks"``, ``"stages"``, ``"leaves"`` or ``"all"``; the name of a layer; a glob (``"layer3.*"``,
        ``"*.attn"``), which is held against the blocks first and against every call when no block matches; several of
        those; or a function that says of a layer whether it is wanted.
    head : str, optional
        Path of the classifier.

    Raises
    ------
    UnknownName
        If the network has no such module.
    LayerNeverFired
        If it has, and the forward never called it.
    """
    return choose_among(trace, find_blocks(trace, head), chosen)


def choose_among(trace: Trace, blocks: Sequence[Layer], chosen: Chosen) -> list[Layer]:
    """The layers that a caller chose, as `choose` gives them, where the blocks are found already."""
    keywords = _keywords(trace, blocks)
    if isinstance(chosen, str) and chosen in keywords:
        return [layer for layer in keywords[chosen]() if layer.keeps_samples]
    return select(_named(trace, blocks), chosen, preferred=blocks, groups=keywords, silent=_silent(trace))


def without_samples(trace: Trace, blocks: Sequence[Layer], chosen: Chosen) -> list[Layer]:
    """The layers that a word stands for, and that are left out of it since no axis of theirs is that of the samples.

    Parameters
    ----------
    trace, blocks, chosen
        As for `choose_among`.
    """
    keywords = _keywords(trace, blocks)
    words = [chosen] if isinstance(chosen, str) else [] if callable(chosen) else chosen
    return [layer for word in words if word in keywords for layer in keywords[word]() if not layer.keeps_samples]


def _keywords(trace: Trace, blocks: Sequence[Layer]) -> dict[str, Callable[[], Sequence[Layer]]]:
    """The words that stand for several layers."""
    return {
        "blocks": lambda: blocks,
        "stages": lambda: _stages(blocks, trace),
        "leaves": lambda: leaves(trace),
        "all": lambda: all_calls(trace),
    }


def find_blocks(trace: Trace, head: str | None = None) -> list[Layer]:
    """Stem, blocks, the classifier's input and the logits, in execution order.

    Parameters
    ----------
    trace : Trace
    head : str, optional
        Path of the classifier. When it is not given, the leaves whose outputs are the network's outputs are taken for
        it, if there are any; a network without a classifier ends with its last features.

    Returns
    -------
    list of Layer
        Roles: ``stem`` before the first of the blocks, ``block``, ``features`` (the classifier's input: its
        ``side="input"``, or the block that makes that very tensor) and ``logits``; these two of each of several heads.
    """
    classifiers = classifiers_of(trace, head)
    live = graph(trace, [slot for classifier in classifiers for slot in classifier.outputs])
    found = Search(trace, live, classifiers).run()
    layers = _with_stem(live, [_layer(live, item) for item in found], found)
    if classifiers:
        return _with_classifiers(live, layers, found, classifiers)
    if found and live.same(found[-1].slot.value) in live.sinks and len(layers[-1].shape) == 1:
        return [*layers[:-1], replace(layers[-1], role="features")]
    end = _final(live, found, head)
    return layers if end is None else [*layers, replace(_layer(live, end), role="features")]


def find_stages(trace: Trace, head: str | None = None) -> list[Layer]:
    """The last block of every stage, the classifier's input and the logits.

    A stage ends where the shape changes, and where one list of blocks gives way to another.
    """
    return _stages(find_blocks(trace, head), trace)


def _stages(layers: Sequence[Layer], trace: Trace) -> list[Layer]:
    blocks = [layer for layer in layers if layer.role != "stem"]
    return [
        layer
        for layer, after in zip(blocks, [*blocks[1:], None], strict=True)
        if after is None or "logits" in (layer.role, after.role) or _between(layer, after, trace)
    ]


def _between(layer: Layer, after: Layer, trace: Trace) -> bool:
    """Whether one stage ends and another begins between two layers."""
    if layer.shape != after.shape or (after.side, after.role) == ("input", "features"):
        return True
    return _list(layer.path, trace) != _list(after.path, trace)


def _list(path: str, trace: Trace) -> str:
    """The outermost list that a module is in."""
    parts = path.split(".")
    above = (".".join(parts[:place]) for place in range(1, len(parts)))
    return next((name for name in above if trace.modules[name].container), "")


def leaves(trace: Trace) -> list[Layer]:
    """The output of every call of a module without children."""
    return [layer for layer, call in _sides(trace) if call.leaf and layer.side == "output"]


def all_calls(trace: Trace) -> list[Layer]:
    """The output of every call of every module."""
    return [layer for layer in _named(trace) if layer.side == "output"]


def _named(trace: Trace, blocks: Sequence[Layer] = ()) -> list[Layer]:
    """What goes into every call and what comes out of it, each name once, `blocks` as they are.

    A wrapper and what it wraps have one name.
    """
    known = {layer.name: layer for layer in blocks}
    found: dict[str, Layer] = {}
    for layer, _ in _sides(trace):
        found.setdefault(layer.name, known.get(layer.name, layer))
    return list(found.values())


def _sides(trace: Trace) -> list[tuple[Layer, Call]]:
    """What goes into every call and what comes out of it, in execution order."""
    live = graph(trace)
    found = []
    for index, side in _events(trace.calls):
        call = trace.calls[index]
        slot = _main(live, call.inputs if side == "input" else call.outputs)
        if slot is not None:
            found.append((_layer(live, Found(index, side, slot)), call))
    return found


def _events(calls: Sequence[Call]) -> Iterator[tuple[int, Literal["input", "output"]]]:
    """When each call is entered and when it is left, by its place."""
    entered: list[int] = []
    for index, call in enumerate(calls):
        while entered and entered[-1] != call.parent:
            yield entered.pop(), "output"
        yield index, "input"
        entered.append(index)
    while entered:
        yield entered.pop(), "output"


def _main(live: Graph, slots: Iterable[Slot]) -> Slot | None:
    """The first tensor that flows on; failing that, the first of floating point."""
    floating = [slot for slot in slots if live.trace.values[slot.value].floating]
    flowing = [slot for slot in floating if live.flows(slot.value)]
    return next(iter((*flowing, *floating)), None)


def _silent(trace: Trace) -> list[str]:
    fired = {call.path for call in trace.calls}
    return [path for path in trace.modules if path and path not in fired]


def _layer(live: Graph, found: Found) -> Layer:
    trace = live.trace
    call = trace.calls[found.call]
    sizes = trace.values[found.slot.value].shape
    channels = live.channels(found.slot.value)
    layer = Layer(
        path=call.path,
        call=call.number,
        side=found.side,
        item=found.slot.item,
        kind=call.kind,
        shape=sizes[1:],
        channels=channels,
        parameters=trace.modules[call.path].parameters,
        is_complex=trace.values[found.slot.value].dtype.startswith("complex"),
    )
    axes = trace.axes.get((call.path, call.number, found.side, found.slot.item), Axes())
    if axes is None or not axes.measured:
        first = sizes[0] if sizes else 0
        return replace(layer, keeps_samples=axes is not None and first == (_samples(trace) or first))
    shape, channels = laid_out(sizes, channels, axes)
    return replace(layer, shape=shape, channels=channels, axes=axes)


def _samples(trace: Trace) -> int:
    """How many samples were traced: the length that most inputs have."""
    lengths = Counter(trace.values[slot.value].shape[:1] for slot in trace.inputs)
    most = max(lengths, key=lambda length: (lengths[length], length), default=())
    return most[0] if most else 0


def _with_stem(live: Graph, layers: Sequence[Layer], found: Sequence[Found]) -> list[Layer]:
    """Tell the stem from the blocks: it comes before the lists that hold the weights, or begins a tower."""
    main = _main_list(live, layers, found)
    roles: list[Layer] = []
    reached = 0
    for place, (layer, item) in enumerate(zip(layers, found, strict=True)):
        begins = not main[place] and not reached >> live.same(item.slot.value) & 1
        reached |= live.reached([item.slot.value])
        stem = begins or not any(main[: place + 1])
        roles.append(replace(layer, role="stem" if stem else "block"))
    return roles


def _main_list(live: Graph, layers: Sequence[Layer], found: Sequence[Found]) -> list[bool]:
    """Which layers are of a list of blocks; of the commonest class when there is no list.

    A list of few weights whose members are all unlike, in class or in shape, may be part of the stem. Where tokens are
    looked up is a stem, even if it is called twice.
    """
    members = [item.member and bool(live.parents.get(live.same(item.slot.value))) for item in found]
    lists: dict[str, list[Layer]] = {}
    for layer, member in zip(layers, members, strict=True):
        if member:
            lists.setdefault(_list(layer.path, live.trace), []).append(layer)
    if not lists:
        count = Counter(layer.kind for layer in layers)
        most = max(layers, key=lambda layer: (count[layer.kind], layer.parameters), default=None)
        return [most is not None and layer.kind == most.kind for layer in layers]
    sizes = {name: sum(layer.parameters for layer in members) for name, members in lists.items()}
    even = {
        name for name, members in lists.items() if len({(layer.kind, layer.shape) for layer in members}) < len(members)
    }
    large = {name for name, size in sizes.items() if size >= _LARGE * max(sizes.values())}
    kinds = {layer.kind for name in large | even for layer in lists[name]}
    return [member and layer.kind in kinds for layer, member in zip(layers, members, strict=True)]


def _with_classifiers(
    live: Graph, layers: Sequence[Layer], found: Sequence[Found], classifiers: Sequence[Call]
) -> list[Layer]:
    """Put what goes into each classifier and what comes out of it behind the blocks."""
    others = set(live.sinks)
    blocks = {
        value: layer
        for layer, item in zip(layers, found, strict=True)
        if (value := live.same(item.slot.value)) not in others
    }
    for classifier in classifiers:
        index = live.trace.calls.index(classifier)
        taken, given = _main(live, classifier.inputs), _main(live, classifier.outputs)
        if taken is not None:  # numbers that are no features, such as those of tokens, are no layer
            origin = live.same(taken.value)
            features = blocks.get(origin) or _layer(live, Found(index, "input", taken))
            blocks[origin] = replace(features, role="features")
        if given is not None:
            blocks[live.same(given.value)] = replace(_layer(live, Found(index, "output", given)), role="logits")
    return [blocks[value] for value in (blocks if len(classifiers) == 1 else sorted(blocks))]


def _final(live: Graph, found: Sequence[Found], head: str | None) -> Found | None:
    """The network's own output, if no layer gives it yet, and if it is more than a comparison of two towers.

    It is named by what stands in the classifier's place, or by the module that makes it.
    """
    listed = [live.same(item.slot.value) for item in found]
    if not live.sinks or live.sinks[0] in listed or (listed and live.seeds[live.sinks[0]] != live.seeds[listed[-1]]):
        return None
    origin = live.sinks[0]
    last = None
    for index, call in enumerate(live.trace.calls):
        for slot in call.inputs if call.path == head else ():
            if live.same(slot.value) == origin:
                return Found(index, "input", slot)
        for slot in call.outputs if call.start <= live.maker.get(origin, -1) < call.stop else ():
            if live.same(slot.value) == origin:
                last = Found(index, "output", slot)
    return last
