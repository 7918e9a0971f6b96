"""The layer: one captured activation, the output or input of one call of one module."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from layerwise.errors import InvalidData, LayerNeverFired, UnknownName, nearest
from layerwise.runtime.module_paths import clean_name

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Axes", "Layer", "chosen_text", "depths", "pick", "select"]


@dataclass(frozen=True)
class Axes:
    """The meaning of the axes of an activation.

    Attributes
    ----------
    samples : int
        The axis that has one row for each sample, or several.
    folded : bool
        Whether it has several, such as the windows of a picture. They become an axis of their own, after the samples.
    positions : tuple of int or None
        Axes that follow the length or size of the input, in the activation with its samples in front; None where the
        network did not run on inputs of another size.
    masked : tuple of int or None
        Axes that follow the length of an attention mask; None where that was not measured.
    masks : tuple of str
        The masks that they follow, by the names of their inputs; several where masks of one length could not be
        distinguished.
    ahead : int
        How many more positions there are than the mask has.
    scaled : bool
        Whether the positions are fewer or more than the mask's by a factor, as after a strided convolution.
    measured : bool
        Whether the axis of the samples was found by running the network on two numbers of samples.
    """

    samples: int = 0
    folded: bool = False
    positions: tuple[int, ...] | None = None
    masked: tuple[int, ...] | None = None
    masks: tuple[str, ...] = ()
    ahead: int = 0
    scaled: bool = False
    measured: bool = False


@dataclass(frozen=True)
class Layer:
    """One activation of a network.

    Attributes
    ----------
    path : str
        The module's path in the model as it was given, with its wrappers (`torch.nn.Module.get_submodule`).
    call : int
        Which call of the module within one forward, from 1.
    side : {"output", "input"}
        Whether the activation leaves the module or enters it.
    item : tuple of str or int
        Where the tensor sits in a tuple, dict or ModelOutput: the keys to follow (`pick`), none for a plain tensor.
        For an input the first key is the argument's position or keyword.
    kind : str
        The module's class.
    shape : tuple of int
        Shape of the activation without the samples, as `samples_first` returns it.
    channels : int
        Axis of the activation, samples included and in front, along which the features lie (1 for ``(n, c, h, w)``, -1
        for ``(n, tokens, c)``); the other axes are positions.
    parameters : int
        Number of parameters of the module.
    role : {"stem", "block", "features", "logits", "inner"}
        The layer's part in the network; ``features`` is the classifier's input.
    keeps_samples : bool
        Whether it has rows for every sample; a table of positions has not.
    axes : Axes
        The meaning of its axes.
    is_complex : bool
        Whether its numbers are complex: each counts as two real features.
    """

    path: str
    call: int = 1
    side: Literal["output", "input"] = "output"
    item: tuple[str | int, ...] = ()
    kind: str = ""
    shape: tuple[int, ...] = ()
    channels: int = -1
    parameters: int = 0
    role: Literal["stem", "block", "features", "logits", "inner"] = "inner"
    keeps_samples: bool = True
    axes: Axes = Axes()
    is_complex: bool = False

    @property
    def name(self) -> str:
        """Name of the layer in a profile: the path in the user's model, with ``:input`` and ``#2`` where they apply."""
        side = ":input" if self.side == "input" else ""
        call = f"#{self.call}" if self.call > 1 else ""
        return f"{clean_name(self.path) or self.kind}{side}{call}"

    def samples_first(self, activation: Tensor, size: int) -> Tensor:
        """Move the samples to the front of an activation of a batch of `size`; no copy is made.

        Raises
        ------
        InvalidData
            If it has no row for every sample.
        """
        rows = activation.shape[self.axes.samples] if activation.ndim > self.axes.samples else 0
        whole = rows % size == 0 if self.axes.folded else rows == size
        if not whole or not self.keeps_samples:
            why = (
                "a squeeze may have dropped the axis of a batch of one: squeeze(1), or drop_last=True, keeps it"
                if size == 1 and self.keeps_samples
                else "it does not keep samples apart and cannot be profiled"
            )
            raise InvalidData(f"layer {self.name!r} gives {rows} rows for a batch of {size} samples; {why}")
        moved = activation.movedim(self.axes.samples, 0)
        return moved.unflatten(0, (size, -1)) if self.axes.folded else moved


def depths(layers: Sequence[Layer]) -> list[float]:
    """Return the position of every layer in execution order, scaled to [0, 1].

    Examples
    --------
    >>> depths([Layer("a"), Layer("b"), Layer("c")])
    [0.0, 0.5, 1.0]
    """
    return [place / max(len(layers) - 1, 1) for place in range(len(layers))]


def pick(structure: Any, item: Iterable[str | int]) -> Any:
    """Follow the keys of `Layer.item` into a tuple, dict, ModelOutput or dataclass.

    Examples
    --------
    >>> pick({"hidden": (1, 2)}, ("hidden", 1))
    2
    """
    for key in item:
        named = isinstance(key, str) and not isinstance(structure, Mapping)
        structure = getattr(structure, str(key)) if named else structure[key]
    return structure


def chosen_text(chosen: str | Sequence[str] | Callable[[Layer], bool]) -> str:
    """Return the caller's choice as text, for messages and to choose it again.

    Examples
    --------
    >>> chosen_text(["stem", "layer3.*"])
    '["stem", "layer3.*"]'
    """
    if isinstance(chosen, str):
        return chosen
    return f"the function {getattr(chosen, '__name__', '')}".strip() if callable(chosen) else json.dumps(list(chosen))


def select(
    layers: Sequence[Layer],
    chosen: str | Sequence[str] | Callable[[Layer], bool],
    *,
    preferred: Sequence[Layer] = (),
    groups: Mapping[str, Callable[[], Sequence[Layer]]] | None = None,
    silent: Collection[str] = (),
) -> list[Layer]:
    """Select layers, in the order of `layers`, each once.

    Parameters
    ----------
    layers : sequence of Layer
        All layers, in execution order.
    chosen : str, sequence of str or callable
        A name, a glob, a key of `groups`, several of those, or a function of a layer. A layer that does not keep
        samples is selected only by its own name.
    preferred : sequence of Layer
        Layers that a glob is matched against first.
    groups : mapping of str to callable, optional
        Words that stand for several layers.
    silent : collection of str
        Paths of modules that the forward never called.

    Returns
    -------
    list of Layer

    Raises
    ------
    UnknownName
        If nothing has that name, or matches the glob.
    LayerNeverFired
        If only modules that never ran do.
    """
    if callable(chosen):
        offered = [layer for layer in layers if layer.side == "output" or layer in preferred]
        return [layer for layer in offered if layer.keeps_samples and chosen(layer)]
    wanted: list[Layer] = []
    for pattern in [chosen] if isinstance(chosen, str) else chosen:
        if groups is not None and pattern in groups:
            wanted += [layer for layer in groups[pattern]() if layer.keeps_samples]
        else:
            wanted += _matching(layers, pattern, preferred, silent)
    names = {layer.name for layer in wanted}
    return [layer for layer in layers if layer.name in names]


def _matching(
    layers: Sequence[Layer], pattern: str, preferred: Sequence[Layer], silent: Collection[str]
) -> list[Layer]:
    """Return the layers that one name or glob matches."""
    inputs = ":" in pattern
    for layer in layers:
        if pattern == layer.name or (pattern == layer.path and (layer.side, layer.call) == ("output", 1)):
            return [layer]
    for pool in (preferred, [layer for layer in layers if inputs == (layer.side == "input")]):
        matches = [layer for layer in pool if layer.keeps_samples and fnmatchcase(layer.name, pattern)]
        if matches:
            return matches
    names = [layer.name for layer in layers if layer.side == "output"]
    uncalled = [path for path in silent if fnmatchcase(clean_name(path), pattern) or path == pattern]
    if uncalled:
        near = nearest(pattern, names) or names[:3]
        raise LayerNeverFired(
            f"{uncalled[0]!r} is a module of this network, but its forward is never called; "
            f"nearest that are: {', '.join(near)}"
        )
    raise UnknownName("layer", pattern, names)
