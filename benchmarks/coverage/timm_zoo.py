"""Every name of timm: made on the meta device, traced, and held against what timm itself publishes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from benchmarks.coverage import truth
from benchmarks.coverage.record import Record
from layerwise.adapters import adapter_named
from layerwise.network.graph.blocks import find_blocks, find_stages
from layerwise.network.graph.trace import Trace, trace
from layerwise.network.layer import Layer

__all__ = ["examine", "family", "made", "names"]


def names() -> list[str]:
    """All architectures of timm."""
    import timm

    found: list[str] = timm.list_models()
    return found


def family(name: str) -> str:
    """The file of timm that an architecture is in."""
    from timm.models import model_entrypoint

    return str(model_entrypoint(name).__module__.rpartition(".")[2])


def _classes(module: nn.Module) -> str:
    inner = dict.fromkeys(_classes(child) for child in module.children())
    return f"{type(module).__name__}({','.join(inner)})"


def examine(name: str, known: Mapping[str, str]) -> Record:
    """Find the layers of one architecture, and say what is wrong with them.

    Parameters
    ----------
    name : str
    known : mapping of str to str
        Names of architectures that were examined, by structure: one that is like them is not.
    """
    record = Record("timm", name, family(name))
    try:
        model, pictures = made(name)
    except Exception as error:
        return record.failed("not made", error)
    # The classes of its modules inside one another, each once: architectures that differ in size alone have the same.
    structure = f"{record.family} {_classes(model)} {model.num_classes > 0} {getattr(model, 'global_pool', '')}"
    record.structure = hashlib.sha256(structure.encode()).hexdigest()[:16]
    twin = known.get(record.structure, name)
    if twin != name:
        record.state, record.like = "alike", twin
        return record
    adapter = adapter_named("timm")
    taken: list[torch.Tensor] = []
    original = model.forward_head

    def keeping(features: torch.Tensor, *args: Any, **options: Any) -> Any:
        taken[:] = [features]
        return original(features, *args, **options)

    try:
        model.forward_head = keeping
        traced = trace(model, lambda: model(pictures))
        model.forward_head = original
    except Exception as error:
        return record.failed("not run", error)
    head = adapter.head(model)
    layers, stages = find_blocks(traced, head), find_stages(traced, head)
    record.layers = len(layers)
    record.faults = [
        *_against_feature_info(model, traced, layers),
        *(f"{name} comes before what it is made of" for name in truth.disordered(traced, layers)),
        *(f"{name} is trivial" for name in truth.trivial(layers)),
        *(f"{name} is no cut" for name in _uncut(traced, layers)),
        *_against_head(model, taken or [model.forward_features(pictures)], traced, layers),
        *(f"stage {stage.name} is no block" for stage in stages if stage not in layers),
    ]
    return record


def made(name: str, *, meta: bool = True) -> tuple[Any, torch.Tensor]:
    """The network and two pictures on the meta device; on the processor, if it cannot be made there."""
    import timm

    device = "meta" if meta else "cpu"
    try:
        with torch.device(device):
            model = timm.create_model(name)
    except (RuntimeError, NotImplementedError):
        model = timm.create_model(name)
        device = "cpu"
    return model.eval(), torch.empty(2, *model.pretrained_cfg["input_size"], device=device)


def _against_feature_info(model: nn.Module, traced: Trace, layers: list[Layer]) -> list[str]:
    """Modules that timm takes features from, and that are no layer, nor have one as their last block.

    What timm takes out of the inside of a residual branch is no cut, and so no layer.
    """
    information: Any = getattr(model, "feature_info", None) or []
    published = [item["module"] for item in getattr(information, "info", information)]
    present = {name for name, _ in model.named_modules()}
    weights = truth.weights_behind(traced)
    found = [weights[truth.value_of(traced, layer)] for layer in layers]
    missing, last = [], -1
    for path in dict.fromkeys(published):
        calls = [call for call in traced.calls if call.path == path]
        if not path or path not in present or not calls:
            continue
        values = [slot.value for slot in calls[-1].outputs]
        behind = {weights[value] for value in values}
        places = [place for place, bits in enumerate(found) if bits in behind]
        if not places and truth.is_cut(traced, values):
            missing.append(f"feature_info's {path} is no layer")
        elif places and places[-1] < last:
            missing.append(f"feature_info's {path} comes before a shallower one")
        last = places[-1] if places else last
    return missing


def _uncut(traced: Trace, layers: list[Layer]) -> list[str]:
    found = []
    # Of a network with heads at several depths, each block is a cut of the way to the heads behind it.
    exits = [truth.value_of(traced, layer) for layer in layers if layer.role == "features"]
    exits = exits if len(exits) > 1 else []
    for place, layer in enumerate(layers):
        if layer.role == "block" and not truth.is_cut(traced, [truth.value_of(traced, layer), *exits]):
            call = truth.call_of(traced, layer)
            slots = call.outputs if layer.side == "output" else call.inputs
            together = truth.is_cut(traced, [*exits, *(slot.value for slot in slots)])
            if not together and not truth.is_linked(traced, layers, place):
                found.append(layer.name)
    return found


def _against_head(model: Any, features: list[Any], traced: Trace, layers: list[Layer]) -> list[str]:
    """Whether the classifier's input is what timm gives as the features before the logits.

    What the classifier does itself before its last linear map, such as a norm, may come in between.
    """
    inputs = [layer for layer in layers if layer.role == "features"]
    if not inputs:
        return ["no layer is the classifier's input"] if model.num_classes else []
    try:
        again = trace(model, lambda: model.forward_head(*features, pre_logits=True))
    except NotImplementedError:  # an encoder that was never a classifier
        return []
    except Exception as error:
        return [f"forward_head fails: {type(error).__name__}: {error}"]
    several = len(inputs) > 1  # of whose inputs timm gives the mean, or puts them beside one another
    theirs = [
        truth.steps(again, value)
        for slot in again.outputs
        for value in (truth.parts(again, slot.value) if several else [slot.value])
    ]
    classifiers = model.get_classifier()
    own = set(
        classifiers.modules() if isinstance(classifiers, nn.Module) else chain(*(m.modules() for m in classifiers))
    )
    inside = {number for number, call in enumerate(traced.calls) if model.get_submodule(call.path) in own}
    for layer in inputs:
        ours = truth.steps(traced, truth.value_of(traced, layer))
        while (
            ours
            and not any(_ends_with(ours, steps) for steps in theirs)
            and (ours[-1].call in inside or "norm" in ours[-1].name)
        ):
            ours.pop()
        if any(_ends_with(ours, steps) for steps in theirs):
            return []
    return ["the classifier's input is not what forward_head gives before the logits"]


def _ends_with(ours: list[truth.Step], theirs: list[truth.Step]) -> bool:
    return not theirs or ours[-len(theirs) :] == theirs
