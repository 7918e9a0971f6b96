"""One traced forward: every module call and every operation, as plain data.

``trace(model, run) -> Trace`` runs one forward under hooks and a dispatch mode. Tensors are told apart by storage,
geometry and version, so that a view, an in-place write and a module that hands its input on are seen as what they
are. Nothing of the forward is kept: no tensor, no hook, no random number drawn, no mode changed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from layerwise.network.graph.axis_moves import kept_axes
from layerwise.network.inference import evaluating
from layerwise.network.layer import Axes

__all__ = [
    "Call",
    "Item",
    "Module",
    "Operation",
    "Slot",
    "Trace",
    "Value",
    "parts_of",
    "reached_from",
    "same_draws",
    "shape_of",
    "tensors",
    "trace",
]

Item = tuple[str | int, ...]


@dataclass(frozen=True)
class Value:
    """One version of one tensor: its shape, its dtype, and whether it is of floating point."""

    shape: tuple[int, ...]
    dtype: str
    floating: bool


@dataclass(frozen=True)
class Slot:
    """Where a value sits in what a module takes or gives: the keys to follow, and the value's number."""

    item: Item
    value: int


@dataclass(frozen=True)
class Operation:
    """One operation: values in, values out, and the innermost module call that ran it (-1 outside all).

    An operation that selects one place along an axis says which: `place` is the axis and the position. One that turns,
    selects or averages says where axes go (`layerwise.network.graph.axis_moves.kept_axes`).
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: int
    place: tuple[int, int] | None = None
    kept: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Call:
    """One call of one module.

    Attributes
    ----------
    path : str
        The module's first name in `torch.nn.Module.named_modules`.
    number : int
        Which call of that module, from 1.
    parent : int
        Position in `Trace.calls` of the call that this one ran in, -1 for none.
    inputs, outputs : tuple of Slot
        The tensors of its arguments (first key: position or keyword) and of what it returned.
    start, stop : int
        Its operations are ``trace.operations[start:stop]``.
    """

    path: str
    number: int
    kind: str
    leaf: bool
    parent: int
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Module:
    """What is known of a module without running it.

    Attributes
    ----------
    container : bool
        Whether it is list-like: a Sequential, ModuleList or ModuleDict, or of a class derived from one.
    parameters : int
        Number of parameters, those of its children among them.
    matrix : bool
        Whether it has, itself, a parameter of two axes or more: a weight that mixes features.
    """

    kind: str
    leaf: bool
    container: bool
    parameters: int
    matrix: bool


@dataclass(frozen=True)
class Trace:
    """One forward of a network.

    Attributes
    ----------
    calls : tuple of Call
        In the order in which they began.
    operations : tuple of Operation
        In the order in which they ran.
    values : tuple of Value
        Values are numbered in the order in which they came to be.
    modules : dict of str to Module
        Every module by its first name, called or not.
    parameters : frozenset of int
        Values that are parameters or buffers.
    owners : dict of int to str
        The module that each parameter is of, by its first name.
    inputs, outputs : tuple of Slot
        Tensors that went into and came out of the whole run.
    axes : dict
        Axes of what modules take and give, by path, call, side and item, as far as they were measured
        (`layerwise.network.graph.axes`); None where no one axis is that of the samples.
    """

    calls: tuple[Call, ...]
    operations: tuple[Operation, ...]
    values: tuple[Value, ...]
    modules: dict[str, Module]
    parameters: frozenset[int]
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    owners: dict[int, str] = field(default_factory=dict)
    axes: dict[tuple[str, int, str, Item], Axes | None] = field(default_factory=dict)


def trace(model: nn.Module, run: Callable[[], Any]) -> Trace:
    """Record one forward.

    The model runs quietly (`layerwise.network.inference`), whatever its own state, and is given back as it was.

    Parameters
    ----------
    model : Module
        On any device, ``meta`` too.
    run : callable
        Runs one forward of `model` and returns what it gives.

    Returns
    -------
    Trace

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> [call.path for call in trace(model, lambda: model(torch.zeros(2, 4))).calls]
    ['', '0', '1']
    """
    return trace_with_tensors(model, run)[0]


def trace_with_tensors(model: nn.Module, run: Callable[[], Any]) -> tuple[Trace, Sequence[Tensor]]:
    """Record one forward as `trace` does, and keep the tensor of every value, by its number.

    What was written to in place later holds what was written last.
    """
    recorder = _Recorder(model)
    with ExitStack() as stack:
        for context in (evaluating(model), same_draws(model), recorder.hooks(), recorder):
            stack.enter_context(context)
        result = run()
    return recorder.finish(result), recorder.alive


def tensors(structure: object, item: Item = ()) -> Iterator[tuple[Item, Tensor]]:
    """Every tensor in nested tuples, lists, dicts and dataclasses, with the keys that lead to it."""
    if isinstance(structure, Tensor):
        yield item, structure
    elif isinstance(structure, Mapping):
        for key in structure:
            yield from tensors(structure[key], (*item, key))
    elif isinstance(structure, list | tuple):
        for position, part in enumerate(structure):
            yield from tensors(part, (*item, position))
    elif dataclasses.is_dataclass(structure) and not isinstance(structure, type):
        for field in dataclasses.fields(structure):
            yield from tensors(getattr(structure, field.name, None), (*item, field.name))


def reached_from(traced: Trace, values: Iterable[int]) -> set[int]:
    """The values of a trace, and all that is made of them."""
    reached = set(values)
    for operation in traced.operations:
        if not reached.isdisjoint(operation.inputs):
            reached.update(operation.outputs)
    return reached


def same_draws(model: nn.Module) -> AbstractContextManager[None]:
    """Give the random number generators back as they were."""
    devices = sorted({item.device.index or 0 for item in model.parameters() if item.is_cuda})
    return torch.random.fork_rng(devices)


class _Recorder(TorchDispatchMode):
    """Numbers tensors, and writes down operations and module calls while it is active."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.names = {id(module): name for name, module in model.named_modules()}
        self.calls: list[Call | None] = []
        self.open: list[tuple[int, nn.Module]] = []
        self.times: dict[str, int] = {}
        self.pending: dict[int, tuple[Slot, ...]] = {}
        self.operations: list[Operation] = []
        self.values: list[Value] = []
        self.known: dict[object, tuple[int, int]] = {}
        self.writes: dict[object, list[tuple[int, Tensor]]] = {}
        # Storages must outlive the trace, or a freed one's address would come back as another tensor.
        self.alive: list[Tensor] = []
        self.owners = {self.read(tensor): name.rpartition(".")[0] for name, tensor in model.named_parameters()}
        owned = [*model.parameters(), *model.buffers()]
        self.parameters = frozenset(self.read(tensor) for tensor in owned)

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Hook every module, and take the hooks off again."""
        with ExitStack() as stack:
            for module in map(self.model.get_submodule, parts_of(self.model)):
                for handle in (
                    module.register_forward_pre_hook(self.enter, with_kwargs=True),
                    module.register_forward_hook(self.leave),
                ):
                    stack.callback(handle.remove)
            yield

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin a call."""
        path = self.names[id(module)]
        self.times[path] = self.times.get(path, 0) + 1
        slots = (*self.slots(args), *self.slots(kwargs))
        parent = self.open[-1][0] if self.open else -1
        leaf = _is_leaf(module)
        start = len(self.operations)
        kind = type(module).__name__
        self.open.append((len(self.calls), module))
        self.calls.append(Call(path, self.times[path], kind, leaf, parent, slots, (), start, start))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """End a call, and those inside it that were left by an exception which the module caught."""
        while self.open:
            index, current = self.open.pop()
            call = self.calls[index]
            assert call is not None
            if current is module:
                outputs = self.slots(output)
                self.calls[index] = dataclasses.replace(call, outputs=outputs, stop=len(self.operations))
                return

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and write it down."""
        kwargs = kwargs or {}
        taken = [tensor for _, tensor in (*tensors(args), *tensors(kwargs))]
        inputs = tuple(dict.fromkeys(self.read(tensor) for tensor in taken))
        before = len(self.values)
        result = func(*args, **kwargs)
        written = _written(func, args, kwargs)
        outputs = [self.write(tensor) for tensor in written]
        fresh = [tensor for _, tensor in tensors(result) if all(tensor is not other for other in written)]
        outputs += [self.read(tensor) for tensor in fresh]
        made = tuple(value for value in outputs if value >= before)
        if made:
            name = func._schema.name.split("::")[-1]
            self.record(name, inputs, made, _place(*args) if name == "select" else None, kept_axes(name, args))
        return result

    def record(
        self,
        name: str,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        place: tuple[int, int] | None = None,
        kept: tuple[int, ...] | None = None,
    ) -> None:
        """Write one operation down."""
        call = self.open[-1][0] if self.open else -1
        self.operations.append(Operation(name, inputs, outputs, call, place, kept))

    def slots(self, structure: object) -> tuple[Slot, ...]:
        """Where the tensors sit, and which values they are."""
        return tuple(Slot(item, self.read(tensor)) for item, tensor in tensors(structure))

    def read(self, tensor: Tensor) -> int:
        """The number of the value that a tensor holds now."""
        key, storage = _key(tensor)
        writes = self.writes.get(storage, [])
        if key not in self.known:
            return self.number(tensor, key, len(writes))
        value, version = self.known[key]
        if version == len(writes):
            return value
        since = writes[version:]
        covered = any(other.numel() >= tensor.numel() for _, other in since)
        inputs = (*(() if covered else (value,)), *(number for number, _ in since))
        fresh = self.number(tensor, key, len(writes))
        self.record("alias", tuple(dict.fromkeys(inputs)), (fresh,))
        return fresh

    def write(self, tensor: Tensor) -> int:
        """A new value for a tensor that was written to in place."""
        key, storage = _key(tensor)
        writes = self.writes.setdefault(storage, [])
        value = self.number(tensor, key, len(writes) + 1)
        writes.append((value, tensor))
        return value

    def number(self, tensor: Tensor, key: object, version: int) -> int:
        """Give a tensor's present content the next number."""
        value = len(self.values)
        self.values.append(Value(shape_of(tensor), str(tensor.dtype).removeprefix("torch."), _floating(tensor)))
        self.known[key] = (value, version)
        self.alive.append(tensor)
        return value

    def finish(self, result: Any) -> Trace:
        """What was recorded, without the tensors."""
        calls = tuple(call for call in self.calls if call is not None)
        return Trace(
            calls,
            tuple(self.operations),
            tuple(self.values),
            {name: _describe(self.model.get_submodule(name)) for name in parts_of(self.model)},
            self.parameters,
            _entering(calls, self.operations, self.parameters),
            self.slots(result),
            self.owners,
        )


def _entering(calls: tuple[Call, ...], operations: list[Operation], parameters: frozenset[int]) -> tuple[Slot, ...]:
    """What goes into the outermost calls and does not come out of earlier ones."""
    entering: list[Slot] = []
    derived: set[int] = set()
    position = 0
    for call in (call for call in calls if call.parent == -1):
        for operation in operations[position : call.start]:
            if not derived.isdisjoint(operation.inputs):
                derived.update(operation.outputs)
        position = call.stop
        entering += [slot for slot in call.inputs if slot.value not in derived | parameters]
        derived.update(slot.value for slot in (*call.inputs, *call.outputs))
    return tuple(entering)


def _is_leaf(module: nn.Module) -> bool:
    """Whether a module is one: it has no children, or they only make its weight, as LoRA's and parametrisations do."""
    made = isinstance(getattr(module, "base_layer", None), nn.Module) and hasattr(module, "merge")
    return made or all(name == "parametrizations" for name, _ in module.named_children())


def parts_of(model: nn.Module) -> list[str]:
    """The first names of all modules, but for what is inside leaves."""
    found: list[str] = []
    inside = ""
    for name, module in model.named_modules():
        if not inside or not name.startswith(inside):
            found.append(name)
            inside = f"{name}." if name and _is_leaf(module) else ""
    return found


def _describe(module: nn.Module) -> Module:
    leaf = _is_leaf(module)
    own = list(module.parameters(recurse=leaf))
    return Module(
        kind=type(module).__name__,
        leaf=leaf,
        container=isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        # A map onto one feature, such as the head of a regression, has a row for its matrix.
        matrix=(isinstance(module, nn.Linear) and module.in_features > 1)
        or any(sum(size > 1 for size in parameter.shape) > 1 for parameter in own),
    )


def _key(tensor: Tensor) -> tuple[object, object]:
    """What a tensor's content is known by, and what its storage is known by."""
    try:
        storage = tensor.untyped_storage()._cdata
        return (storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype), storage
    except (RuntimeError, NotImplementedError):
        return ("object", id(tensor)), ("object", id(tensor))


def _place(tensor: Tensor, axis: int, position: int) -> tuple[int, int]:
    """Axis and position from the front."""
    axis %= tensor.ndim
    return axis, int(position) % tensor.shape[axis]


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """The shape of a tensor; none of a nested one, which has several."""
    try:
        return tuple(int(size) for size in tensor.shape)
    except RuntimeError:
        return ()


def _floating(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The arguments that an operation writes to in place."""
    written = []
    for position, name in _targets(func):
        argument = args[position] if position < len(args) else kwargs.get(name)
        written += [tensor for _, tensor in tensors(argument)]
    return written


@functools.cache
def _targets(func: Any) -> tuple[tuple[int, str], ...]:
    return tuple(
        (position, argument.name)
        for position, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
