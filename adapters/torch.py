"""Any torch module: batches as tuples or mappings, inputs as tensors, tuples or keyword arguments."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from layerwise.adapters.items import parameters_of, pick_items, split
from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData, InvalidLabels, UnknownName
from layerwise.runtime.statistics_device import statistics_device
from layerwise.runtime.tensors import map_tensors, resampled

__all__ = ["TorchAdapter", "move"]


class TorchAdapter:
    """Runs any torch module; the adapters of timm and Hugging Face override a few methods.

    Model names are ``package.module:function``: the function is called without arguments and returns the module.
    """

    name = "torch"
    masks: ClassVar[Mapping[str, bool]] = {
        **dict.fromkeys(("attention_mask", "input_mask"), True),
        # The convention of torch: true at padding.
        **dict.fromkeys(("src_key_padding_mask", "key_padding_mask", "padding_mask", "pad_mask"), False),
    }

    def claims(self, model: nn.Module) -> bool:
        """Claim every module."""
        return True

    def load(self, name: str) -> nn.Module:
        """Call ``package.module:function``; the working directory is on the path of modules.

        Raises
        ------
        UnknownName
            If the module or the function does not exist.
        """
        module_name, _, attribute = name.partition(":")
        hint = "Model names are timm/NAME, hf/NAME or package.module:function"
        if not all(part.isidentifier() for part in module_name.split(".")):
            raise UnknownName("Python module", module_name, [], hint=hint)
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            raise UnknownName("Python module", module_name, [], hint=hint) from error
        if not hasattr(module, attribute):
            names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise UnknownName(f"function in {module_name}", attribute, names)
        model = getattr(module, attribute)()
        if not isinstance(model, nn.Module):
            raise InvalidData(f"{name} gives a {type(model).__name__}, not a torch module")
        return model.eval()

    def pick(self, raw: Any, model: nn.Module) -> Any:
        """Leave out the items of a batch that the model does not take, such as paths and sample numbers.

        Raises
        ------
        InvalidData
            If the batch can be read in two ways, such as ``(inputs, labels, index)``.
        """
        return pick_items(raw, parameters_of(model))

    def batch(self, raw: Any, device: torch.device) -> Batch:
        """Split ``(inputs, labels)``, or a mapping with a key such as ``labels``, and move it to the device.

        Labels move to the device of statistics (`layerwise.runtime.statistics_device`). They may be a mapping with an
        entry for each target.

        Raises
        ------
        InvalidData
            If there are no labels, several items may be the labels, or the numbers of inputs and labels differ.
        InvalidLabels
            If labels are not numbers.
        """
        inputs, labels = split(raw)
        targets = dict(labels) if isinstance(labels, Mapping) else {"label": labels}
        inputs = move(inputs, device)
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        # Regression targets may be in double precision, which some devices lack.
        label_device = statistics_device(device)
        tensors = {name: _as_labels(value, name).to(label_device) for name, value in targets.items()}
        sizes = {len(value) for value in tensors.values() if value.ndim}
        if len(sizes) != 1:
            raise InvalidData(f"labels of a batch must be vectors of one length; there are {sorted(sizes) or 'none'}")
        size = sizes.pop()
        if isinstance(inputs, Tensor) and not inputs.is_nested and inputs.layout is not torch.strided:
            raise InvalidData("the inputs of a batch are sparse: give inputs.to_dense()")
        if isinstance(inputs, Tensor) and inputs.is_meta:
            raise InvalidData("the inputs of a batch have no values: they are on the device 'meta'")
        if isinstance(inputs, Tensor) and inputs.ndim > 1 and len(inputs) != size:
            raise InvalidData(f"a batch has {len(inputs)} inputs and {size} labels")
        return Batch(inputs, tensors, size, mask if isinstance(mask, Tensor) and mask.ndim == 2 else None)

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Run one forward: a mapping's entries become keyword arguments, a tuple's positional ones."""
        inputs = batch.inputs
        if isinstance(inputs, Mapping):
            return model(**inputs)
        return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)

    def logits(self, output: Any) -> Tensor | None:
        """Return the output, or its entry ``logits``, if it is a matrix."""
        if isinstance(output, Mapping):
            output = output.get("logits")
        elif hasattr(output, "logits"):
            output = output.logits
        if not isinstance(output, Tensor) or output.is_complex():
            return None
        return output if output.ndim == 2 and output.shape[1] > 1 else None

    def head(self, model: nn.Module) -> str | None:
        """Return None: the head is found in the graph of the network."""
        return None

    def prefix_tokens(self, model: nn.Module, batch: Batch) -> int:
        """Return the model's ``num_prefix_tokens``, else 0."""
        return int(getattr(model, "num_prefix_tokens", 0))

    def virtual_tokens(self, model: nn.Module) -> int:
        """Return 0."""
        return 0

    def mask_at(self, model: nn.Module, mask: Tensor, length: int) -> Tensor:
        """Return the value of the mask at the centre of each position."""
        return resampled(mask, length)

    def pooling(self, model: nn.Module) -> str:
        """Return the mean over tokens."""
        return "mean"

    def prepare(self, model: nn.Module) -> Callable[[Sequence[Any]], Any] | None:
        """Return None: the training is not known, so arrays are stacked unchanged."""
        return None

    def example(self, model: nn.Module) -> Any:
        """Make inputs of two samples, with the width or the channels of the network's first map.

        Raises
        ------
        InvalidData
            If the network begins with neither a linear map nor a convolution.
        """
        for module in model.modules():
            if isinstance(module, nn.Linear):
                return torch.randn(2, module.in_features)
            if isinstance(module, nn.Conv2d):
                return torch.randn(2, module.in_channels, 64, 64)
            if isinstance(module, nn.Embedding):
                return torch.randint(0, module.num_embeddings, (2, 16))
        raise InvalidData("cannot make up an input for this network; profile it with data, or give inputs of its own")


def move(value: Any, device: torch.device) -> Any:
    """Move nested tensors to the device."""
    return map_tensors(value, lambda tensor: tensor.to(device, non_blocking=True))


def _as_labels(value: Any, target: str) -> Tensor:
    try:
        labels = torch.as_tensor(value)
        return labels.to_dense() if labels.layout is not torch.strided else labels
    except (TypeError, ValueError, RuntimeError) as error:
        example = next(iter(value), value) if isinstance(value, Iterable) else value
        raise InvalidLabels(f"labels of {target!r} must be numbers, not {example!r}; encode them") from error
