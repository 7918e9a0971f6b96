"""Models of Hugging Face transformers, from the hub or a local folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from layerwise.adapters.peft import is_adapter_folder, load_with_adapter
from layerwise.adapters.pictures import picture
from layerwise.adapters.poolers import without_random_pooler
from layerwise.adapters.protocol import Batch
from layerwise.adapters.torch import TorchAdapter
from layerwise.errors import InvalidData, UnknownName
from layerwise.progress import others_bars

__all__ = ["HuggingFaceAdapter"]

_CLASSIFIERS = ("ForSequenceClassification", "ForImageClassification", "ForAudioClassification")
_PREFIXES = ("cls_token", "class_embedding", "distillation_token", "register_tokens")
# Longer texts are cut here, unless the tokenizer itself asks for less.
_LONGEST = 512


class HuggingFaceAdapter(TorchAdapter):
    """Names are ``hf/NAME``: a hub id or a local folder, a folder that holds a single GGUF file among them.

    A checkpoint with a classification head keeps it; of any other, the network below its head is taken. A folder of
    PEFT's that holds an adapter alone gives the base that it names, with the head of the adapter's task and the adapter
    in it.
    """

    name = "hf"

    def __init__(self) -> None:
        self._origins: WeakKeyDictionary[nn.Module, tuple[str, dict[str, str]]] = WeakKeyDictionary()

    def claims(self, model: nn.Module) -> bool:
        """Modules of transformers, and PEFT's around them, which answer for what they wrap."""
        return type(model).__module__.startswith("transformers.") or hasattr(model, "main_input_name")

    def load(self, name: str) -> nn.Module:
        """The model of that name.

        Raises
        ------
        UnknownName
            If there is no such folder or hub id.
        InvalidData
            If it is an adapter whose base is not to be had.
        """
        import transformers

        if is_adapter_folder(name):
            model, origin = load_with_adapter(name)
            self._origins[model] = (origin, {})
            return model.eval()
        options = _gguf(name)
        try:
            with others_bars():
                config = transformers.AutoConfig.from_pretrained(name, **options)
                heads = (item for item in config.architectures or () if item.endswith(_CLASSIFIERS))
                chosen = next((item for item in heads if hasattr(transformers, item)), "AutoModel")
                loaded = getattr(transformers, chosen).from_pretrained(name, output_loading_info=True, **options)
        except (OSError, ValueError) as error:
            beside = Path(name).parent if name.startswith((".", "/")) else Path()
            there = [item.name for item in beside.iterdir() if item.is_dir()] if beside.is_dir() else []
            raise UnknownName("Hugging Face model", name, there, hint=str(error).splitlines()[0]) from error
        model, info = loaded
        model = without_random_pooler(model, info["missing_keys"])
        self._origins[model] = (name, options)
        return model.eval()

    def batch(self, raw: Any, device: torch.device) -> Batch:
        """As for any module; two tensors of one shape, the second of 0 and 1, are tokens and their mask.

        Raises
        ------
        InvalidData
            If it cannot be told which of several tensors is the mask.
        """
        batch = super().batch(raw, device)
        if not isinstance(batch.inputs, (tuple, list)) or not _are_tokens(batch.inputs):
            return batch
        if len(batch.inputs) > 2:
            raise InvalidData(
                f"a batch has {len(batch.inputs)} tensors of tokens without names; give a mapping such as the "
                "tokenizer makes, so that padding is known"
            )
        tokens, mask = batch.inputs
        return Batch({"input_ids": tokens, "attention_mask": mask}, batch.labels, batch.size, mask)

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Run one forward without a key-value cache; a decoder that is given no input starts from its start token."""
        inputs = batch.inputs
        if isinstance(inputs, Tensor):
            inputs = {getattr(model, "main_input_name", "input_ids"): inputs}
        if not isinstance(inputs, Mapping):
            return super().forward(model, batch)
        inputs = dict(inputs)
        accepted = inspect.signature(model.forward).parameters
        if "use_cache" in accepted:
            inputs.setdefault("use_cache", False)
        config = getattr(model, "config", None)
        starts = getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in accepted
        # A classifier shifts its own input into the decoder.
        if starts and not type(model).__name__.endswith(_CLASSIFIERS):
            start = getattr(config, "decoder_start_token_id", None) or 0
            device = next(iter(batch.labels.values())).device
            inputs.setdefault("decoder_input_ids", torch.full((batch.size, 1), start, device=device))
        return model(**inputs)

    def prefix_tokens(self, model: nn.Module, batch: Batch) -> int:
        """Class, distillation and register tokens, counted from the embeddings that hold them; none in text."""
        if batch.mask is not None:
            return 0
        tokens = (value for name, value in model.named_parameters() if name.split(".")[-1] in _PREFIXES)
        return sum(value.shape[-2] if value.ndim > 1 else 1 for value in tokens)

    def pooling(self, model: nn.Module) -> str:
        """The last token of causal decoders, the class token of vision transformers, else the mean."""
        from transformers.models.auto import modeling_auto

        kind = getattr(getattr(model, "config", None), "model_type", "")
        causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        if causal and not masked:
            return "last"
        own = ("cls_token", "class_embedding")
        return "cls" if any(name.endswith(own) for name, _ in model.named_parameters()) else "mean"

    def prepare(self, model: nn.Module) -> Callable[[Sequence[Any]], Any] | None:
        """The tokenizer or the image processor that was saved with the model."""
        import transformers

        name, options = self._origin(model)
        if getattr(model, "main_input_name", "input_ids") != "input_ids":
            processor = transformers.AutoImageProcessor.from_pretrained(name)
            return lambda raw: dict(processor(images=[picture(item) for item in raw], return_tensors="pt"))
        with others_bars():
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        longest = min(tokenizer.model_max_length, _LONGEST)

        def prepare(raw: Sequence[Any]) -> Any:
            texts = [str(text) for text in raw]
            return dict(tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt"))

        return prepare

    def example(self, model: nn.Module) -> Any:
        """Two made-up texts, pictures or sounds of the form that the model's configuration asks for."""
        config: Any = getattr(model, "config", None)
        main = getattr(model, "main_input_name", "input_ids")
        if main == "pixel_values":
            config = getattr(config, "vision_config", config)
            size = getattr(config, "image_size", 224)
            height, width = size if isinstance(size, (list, tuple)) else (size, size)
            return {main: torch.randn(2, getattr(config, "num_channels", 3), height, width)}
        if main == "input_values":
            return {main: torch.randn(2, 16_000)}
        if main == "input_features":
            return {main: torch.randn(2, config.num_mel_bins, 2 * config.max_source_positions)}
        if main != "input_ids":
            raise InvalidData(f"cannot make up {main!r} for this network; profile it with data of its own")
        ids = torch.arange(3, 19).repeat(2, 1)
        return {main: ids, "attention_mask": torch.ones_like(ids)}

    def _origin(self, model: nn.Module) -> tuple[str, dict[str, str]]:
        if model in self._origins:
            return self._origins[model]
        config: Any = model.config
        return str(getattr(model, "name_or_path", "") or config.name_or_path), {}


def _are_tokens(values: Sequence[Any]) -> bool:
    """Whether these are several matrices of integers of one shape, and a second of two is a mask."""
    if len(values) < 2 or not all(isinstance(value, Tensor) and value.ndim == 2 for value in values):
        return False
    same = all(value.shape == values[0].shape and not value.is_floating_point() for value in values)
    return same and (len(values) > 2 or bool(((values[1] == 0) | (values[1] == 1)).all()))


def _gguf(name: str) -> dict[str, str]:
    """The option that names the weights, where a folder holds a GGUF file and no configuration."""
    folder = Path(name)
    files = sorted(folder.glob("*.gguf")) if folder.is_dir() else []
    return {"gguf_file": files[0].name} if len(files) == 1 and not (folder / "config.json").exists() else {}
