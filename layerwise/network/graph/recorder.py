"""The recorder of a forward: it numbers tensors, and records operations and module calls while they run.

Tensors are distinguished by storage, geometry and version, so that views, in-place writes and modules that return their
input are recognised.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from layerwise.network.graph.axis_moves import kept_axes
from layerwise.network.graph.records import Call, Item, Module, Operation, Slot, Trace, Value

__all__ = ["Recorder", "parts_of", "shape_of", "tensors"]


class Recorder(TorchDispatchMode):
    """Number tensors, and record operations and module calls while the mode is active."""

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
        # Storages must outlive the trace: the address of a freed one would be used again for another tensor.
        self.alive: list[Tensor] = []
        self.owners = {self.read(tensor): name.rpartition(".")[0] for name, tensor in model.named_parameters()}
        owned = [*model.parameters(), *model.buffers()]
        self.parameters = frozenset(self.read(tensor) for tensor in owned)

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Hook every module, and remove the hooks at the end."""
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
        """End a call, and calls inside it that an exception ended which the module caught."""
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
        """Run one operation and record it."""
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
        """Record one operation."""
        call = self.open[-1][0] if self.open else -1
        self.operations.append(Operation(name, inputs, outputs, call, place, kept))

    def slots(self, structure: object) -> tuple[Slot, ...]:
        """Return where the tensors of a structure are, and which values they hold."""
        return tuple(Slot(item, self.read(tensor)) for item, tensor in tensors(structure))

    def read(self, tensor: Tensor) -> int:
        """Return the number of the value that a tensor holds now."""
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
        """Number a tensor again that was written to in place."""
        key, storage = _key(tensor)
        writes = self.writes.setdefault(storage, [])
        value = self.number(tensor, key, len(writes) + 1)
        writes.append((value, tensor))
        return value

    def number(self, tensor: Tensor, key: object, version: int) -> int:
        """Number the present content of a tensor."""
        value = len(self.values)
        self.values.append(Value(shape_of(tensor), str(tensor.dtype).removeprefix("torch."), _floating(tensor)))
        self.known[key] = (value, version)
        self.alive.append(tensor)
        return value

    def finish(self, result: Any) -> Trace:
        """Return the record, without the tensors."""
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


def tensors(structure: object, item: Item = ()) -> Iterator[tuple[Item, Tensor]]:
    """Yield every tensor in nested tuples, lists, dicts and dataclasses, with the keys that lead to it."""
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


def _entering(calls: tuple[Call, ...], operations: list[Operation], parameters: frozenset[int]) -> tuple[Slot, ...]:
    """Return the inputs of the outermost calls that do not come from earlier ones."""
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
    """Return whether a module has no children, or only such as make its weight, as LoRA and parametrisations do."""
    made = isinstance(getattr(module, "base_layer", None), nn.Module) and hasattr(module, "merge")
    return made or all(name == "parametrizations" for name, _ in module.named_children())


def parts_of(model: nn.Module) -> list[str]:
    """List the first names of all modules, without those inside leaves."""
    names: list[str] = []
    inside = ""
    for name, module in model.named_modules():
        if not inside or not name.startswith(inside):
            names.append(name)
            inside = f"{name}." if name and _is_leaf(module) else ""
    return names


def _describe(module: nn.Module) -> Module:
    leaf = _is_leaf(module)
    parameters = list(module.parameters(recurse=leaf))
    return Module(
        kind=type(module).__name__,
        leaf=leaf,
        container=isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        # The matrix of a map onto one feature, such as the head of a regression, is a row.
        matrix=(isinstance(module, nn.Linear) and module.in_features > 1)
        or any(sum(size > 1 for size in parameter.shape) > 1 for parameter in parameters),
    )


def _key(tensor: Tensor) -> tuple[object, object]:
    """Return keys for the content of a tensor and for its storage."""
    try:
        storage = tensor.untyped_storage()._cdata
        return (storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype), storage
    except (RuntimeError, NotImplementedError):
        return ("object", id(tensor)), ("object", id(tensor))


def _place(tensor: Tensor, axis: int, position: int) -> tuple[int, int]:
    """Return the axis and the position, both counted from the front."""
    axis %= tensor.ndim
    return axis, int(position) % tensor.shape[axis]


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor; an empty one for a nested tensor, which has several."""
    try:
        return tuple(int(size) for size in tensor.shape)
    except RuntimeError:
        return ()


def _floating(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the arguments that an operation writes to in place."""
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
