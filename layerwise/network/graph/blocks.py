"""The layers of any network, from one trace: no table of architectures, no configuration.

A caller needs ``choose(trace, chosen, head) -> list[Layer]``. It uses `find_blocks`, `find_stages`, `leaves` and
`all_calls`, which take a `layerwise.network.graph.records.Trace` and return layers in execution order.

A block's output is a *cut* of the graph of operations that a module makes. Containers whose children run as a chain of
cuts are opened. A module is one block if a residual, a branch or a gate jumps over its parts.
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
from layerwise.network.graph.search import Cut, Search
from layerwise.network.layer import Axes, Layer, select

__all__ = ["all_calls", "choose", "choose_among", "find_blocks", "find_stages", "leaves", "without_samples"]

# A list counts as a list of blocks when it has this share of the parameters of the largest one.
_LARGE = 0.1

Chosen = str | Sequence[str] | Callable[[Layer], bool]


def choose(trace: Trace, chosen: Chosen = "blocks", head: str | None = None) -> list[Layer]:
    """Return the layers that a caller chose, in execution order.

    Parameters
    ----------
    trace : Trace
    chosen : str, sequence of str or callable
        ``"blocks"``, ``"stages"``, ``"leaves"`` or ``"all"``; the name of a layer; a glob (``"layer3.*"``,
        ``"*.attn"``), which is matched against the blocks first, and against every call when no block matches; several
        of those; or a function that returns whether a layer is wanted. Only a layer's own name chooses one that does
        not keep samples.
    head : str, optional
        Path of the classifier.

    Returns
    -------
    list of Layer

    Raises
    ------
    UnknownName
        If the network has no such module.
    LayerNeverFired
        If it has, and the forward never called it.
    """
    return choose_among(trace, find_blocks(trace, head), chosen)


def choose_among(trace: Trace, blocks: Sequence[Layer], chosen: Chosen) -> list[Layer]:
    """Return the layers that a caller chose, as `choose` does, from blocks that are known already."""
    keywords = _keywords(trace, blocks)
    if isinstance(chosen, str) and chosen in keywords:
        return [layer for layer in keywords[chosen]() if layer.keeps_samples]
    return select(_named(trace, blocks), chosen, preferred=blocks, groups=keywords, silent=_silent(trace))


def without_samples(trace: Trace, blocks: Sequence[Layer], chosen: Chosen) -> list[Layer]:
    """Return the layers that a word stands for, but that are left out because they do not keep samples.

    Parameters
    ----------
    trace, blocks, chosen
        As for `choose_among`.
    """
    keywords = _keywords(trace, blocks)
    words = [chosen] if isinstance(chosen, str) else [] if callable(chosen) else chosen
    return [layer for word in words if word in keywords for layer in keywords[word]() if not layer.keeps_samples]


def _keywords(trace: Trace, blocks: Sequence[Layer]) -> dict[str, Callable[[], Sequence[Layer]]]:
    """Return the words that stand for several layers."""
    return {
        "blocks": lambda: blocks,
        "stages": lambda: _stages(blocks, trace),
        "leaves": lambda: leaves(trace),
        "all": lambda: all_calls(trace),
    }


def find_blocks(trace: Trace, head: str | None = None) -> list[Layer]:
    """Return stem, blocks, the classifier's input and the logits, in execution order.

    Parameters
    ----------
    trace : Trace
    head : str, optional
        Path of the classifier. By default the leaves whose outputs are the network's outputs are the classifiers; a
        network without any ends with its last features.

    Returns
    -------
    list of Layer
        Roles: ``stem`` before the first of the blocks, ``block``, ``features`` (the classifier's input: its
        ``side="input"``, or the block that makes that tensor) and ``logits``. Each of several heads has the last two.
    """
    classifiers = classifiers_of(trace, head)
    live = graph(trace, [slot for classifier in classifiers for slot in classifier.outputs])
    cuts = Search(trace, live, classifiers).run()
    layers = _with_stem(live, [_layer(live, cut) for cut in cuts], cuts)
    if classifiers:
        return _with_classifiers(live, layers, cuts, classifiers)
    if cuts and live.same(cuts[-1].slot.value) in live.sinks and len(layers[-1].shape) == 1:
        return [*layers[:-1], replace(layers[-1], role="features")]
    end = _final(live, cuts, head)
    return layers if end is None else [*layers, replace(_layer(live, end), role="features")]


def find_stages(trace: Trace, head: str | None = None) -> list[Layer]:
    """Return the last block of every stage, the classifier's input and the logits.

    A stage ends where the shape changes, and where one list of blocks is followed by another.
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
    """Return whether one stage ends and another begins between two layers."""
    if layer.shape != after.shape or (after.side, after.role) == ("input", "features"):
        return True
    return _list(layer.path, trace) != _list(after.path, trace)


def _list(path: str, trace: Trace) -> str:
    """Return the outermost list that a module is in."""
    parts = path.split(".")
    above = (".".join(parts[:place]) for place in range(1, len(parts)))
    return next((name for name in above if trace.modules[name].container), "")


def leaves(trace: Trace) -> list[Layer]:
    """Return the output of every call of a module without children."""
    return [layer for layer, call in _sides(trace) if call.leaf and layer.side == "output"]


def all_calls(trace: Trace) -> list[Layer]:
    """Return the output of every call of every module."""
    return [layer for layer in _named(trace) if layer.side == "output"]


def _named(trace: Trace, blocks: Sequence[Layer] = ()) -> list[Layer]:
    """Return the inputs and outputs of all calls, each name once, with `blocks` as they are.

    A wrapper and the module inside it have one name.
    """
    known = {layer.name: layer for layer in blocks}
    named: dict[str, Layer] = {}
    for layer, _ in _sides(trace):
        named.setdefault(layer.name, known.get(layer.name, layer))
    return list(named.values())


def _sides(trace: Trace) -> list[tuple[Layer, Call]]:
    """Return the inputs and outputs of all calls, in execution order."""
    live = graph(trace)
    sides = []
    for index, side in _events(trace.calls):
        call = trace.calls[index]
        slot = _main(live, call.inputs if side == "input" else call.outputs)
        if slot is not None:
            sides.append((_layer(live, Cut(index, side, slot)), call))
    return sides


def _events(calls: Sequence[Call]) -> Iterator[tuple[int, Literal["input", "output"]]]:
    """Yield when each call begins and ends, by its position."""
    entered: list[int] = []
    for index, call in enumerate(calls):
        while entered and entered[-1] != call.parent:
            yield entered.pop(), "output"
        yield index, "input"
        entered.append(index)
    while entered:
        yield entered.pop(), "output"


def _main(live: Graph, slots: Iterable[Slot]) -> Slot | None:
    """Return the first live tensor; without one, the first of floating point."""
    floating = [slot for slot in slots if live.trace.values[slot.value].floating]
    flowing = [slot for slot in floating if live.flows(slot.value)]
    return next(iter((*flowing, *floating)), None)


def _silent(trace: Trace) -> list[str]:
    fired = {call.path for call in trace.calls}
    return [path for path in trace.modules if path and path not in fired]


def _layer(live: Graph, cut: Cut) -> Layer:
    trace = live.trace
    call = trace.calls[cut.call]
    sizes = trace.values[cut.slot.value].shape
    channels = live.channels(cut.slot.value)
    layer = Layer(
        path=call.path,
        call=call.number,
        side=cut.side,
        item=cut.slot.item,
        kind=call.kind,
        shape=sizes[1:],
        channels=channels,
        parameters=trace.modules[call.path].parameters,
        is_complex=trace.values[cut.slot.value].dtype.startswith("complex"),
    )
    axes = trace.axes.get((call.path, call.number, cut.side, cut.slot.item), Axes())
    if axes is None or not axes.measured:
        first = sizes[0] if sizes else 0
        return replace(layer, keeps_samples=axes is not None and first == (_samples(trace) or first))
    shape, channels = laid_out(sizes, channels, axes)
    return replace(layer, shape=shape, channels=channels, axes=axes)


def _samples(trace: Trace) -> int:
    """Return the number of traced samples: the length that most inputs have."""
    lengths = Counter(trace.values[slot.value].shape[:1] for slot in trace.inputs)
    most = max(lengths, key=lambda length: (lengths[length], length), default=())
    return most[0] if most else 0


def _with_stem(live: Graph, layers: Sequence[Layer], cuts: Sequence[Cut]) -> list[Layer]:
    """Distinguish the stem from the blocks: it comes before the lists that hold the weights, or begins a tower."""
    main = _main_list(live, layers, cuts)
    roles: list[Layer] = []
    reached = 0
    for place, (layer, cut) in enumerate(zip(layers, cuts, strict=True)):
        begins = not main[place] and not reached >> live.same(cut.slot.value) & 1
        reached |= live.reached([cut.slot.value])
        stem = begins or not any(main[: place + 1])
        roles.append(replace(layer, role="stem" if stem else "block"))
    return roles


def _main_list(live: Graph, layers: Sequence[Layer], cuts: Sequence[Cut]) -> list[bool]:
    """Return which layers belong to a list of blocks; without a list, those of the commonest class.

    A list of few weights whose members are all unlike, in class or in shape, may be part of the stem. A table that
    tokens are looked up in is a stem, even if it is called twice.
    """
    members = [cut.member and bool(live.parents.get(live.same(cut.slot.value))) for cut in cuts]
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
    live: Graph, layers: Sequence[Layer], cuts: Sequence[Cut], classifiers: Sequence[Call]
) -> list[Layer]:
    """Add the input and the output of each classifier after the blocks."""
    others = set(live.sinks)
    blocks = {
        value: layer
        for layer, cut in zip(layers, cuts, strict=True)
        if (value := live.same(cut.slot.value)) not in others
    }
    for classifier in classifiers:
        index = live.trace.calls.index(classifier)
        source, logits = _main(live, classifier.inputs), _main(live, classifier.outputs)
        if source is not None:  # whole numbers, such as those of tokens, are no layer
            origin = live.same(source.value)
            features = blocks.get(origin) or _layer(live, Cut(index, "input", source))
            blocks[origin] = replace(features, role="features")
        if logits is not None:
            blocks[live.same(logits.value)] = replace(_layer(live, Cut(index, "output", logits)), role="logits")
    return [blocks[value] for value in (blocks if len(classifiers) == 1 else sorted(blocks))]


def _final(live: Graph, cuts: Sequence[Cut], head: str | None) -> Cut | None:
    """Return the network's own output, if no layer is it yet, and if it is more than a comparison of two towers.

    It is named after the module in the classifier's place, or after the module that makes it.
    """
    listed = [live.same(cut.slot.value) for cut in cuts]
    if not live.sinks or live.sinks[0] in listed or (listed and live.seeds[live.sinks[0]] != live.seeds[listed[-1]]):
        return None
    origin = live.sinks[0]
    last = None
    for index, call in enumerate(live.trace.calls):
        for slot in call.inputs if call.path == head else ():
            if live.same(slot.value) == origin:
                return Cut(index, "input", slot)
        for slot in call.outputs if call.start <= live.maker.get(origin, -1) < call.stop else ():
            if live.same(slot.value) == origin:
                last = Cut(index, "output", slot)
    return last
