"""Models of Hugging Face transformers, from the hub or a local folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from layerwise.adapters.examples import example_inputs
from layerwise.adapters.padding import padding_known
from layerwise.adapters.peft import is_adapter_folder, load_with_adapter
from layerwise.adapters.poolers import without_random_pooler
from layerwise.adapters.protocol import Batch
from layerwise.adapters.raw_inputs import RawInputs, accepted
from layerwise.adapters.remote_code import code_of, refusing_code
from layerwise.adapters.texts import beyond_limits
from layerwise.adapters.torch import TorchAdapter
from layerwise.errors import InvalidData, LayerwiseError, UnknownName, listed
from layerwise.runtime.extras import from_extra
from layerwise.runtime.progress import logger, others_bars
from layerwise.runtime.reading_errors import reason, refusing
from layerwise.runtime.tensors import tensors_of

__all__ = ["HuggingFaceAdapter"]

_CLASSIFIERS = ("ForSequenceClassification", "ForImageClassification", "ForAudioClassification")
_PREFIXES = ("cls_token", "class_embedding", "distillation_token", "register_tokens")
# Architectures that are loaded as the checkpoint names them. Otherwise a lone encoder would get a random decoder.
_KEPT = (*_CLASSIFIERS, "EncoderModel")


class HuggingFaceAdapter(TorchAdapter):
    """Loads and runs models of transformers by names ``hf/NAME``: a hub id or a local folder, also of one GGUF file.

    A checkpoint with a classification head keeps the head; any other is loaded without its head. A folder with an
    adapter of PEFT alone is loaded as the base that it names, with the head of the adapter's task and the adapter.
    """

    name = "hf"
    masks: ClassVar[Mapping[str, bool]] = {"attention_mask": True, "padding_mask": True}

    def __init__(self) -> None:
        self._origins: WeakKeyDictionary[nn.Module, tuple[str, dict[str, Any]]] = WeakKeyDictionary()

    def claims(self, model: nn.Module) -> bool:
        """Claim modules of transformers, and wrappers of PEFT, which have the attributes of the wrapped module."""
        return type(model).__module__.startswith("transformers.") or hasattr(model, "main_input_name")

    def load(self, name: str, trust_remote_code: bool = False) -> nn.Module:
        """Load the model of that name.

        Raises
        ------
        UnknownName
            If no folder or hub id has that name.
        RemoteCode
            If the model needs code of its own, and `trust_remote_code` does not allow it.
        InvalidData
            If the model is broken, or an adapter whose base cannot be loaded.
        """
        trust = {"trust_remote_code": trust_remote_code}
        with refusing(f"the model 'hf/{name:.200}' cannot be loaded"):
            if is_adapter_folder(name):
                model, origin = load_with_adapter(name, trust_remote_code)
                self._origins[model] = (origin, trust)
                return model.eval()
            options = _gguf(name) | trust
            try:
                with others_bars(), refusing_code(name):
                    model, info = _loaded(name, options)
            except (OSError, ValueError) as error:
                if Path(name).is_dir() or isinstance(error, LayerwiseError):
                    raise
                raise UnknownName("Hugging Face model", name, _folders_near(name), hint=reason(error)) from error
            model = without_random_pooler(model, info["missing_keys"])
            _check_values(model, info["missing_keys"], name)
        unused = [] if trust_remote_code else code_of(name)
        if unused:
            logger.warning("%s brings code of its own, %s, which does not run", name, listed(unused))
        self._origins[model] = (name, options)
        return model.eval()

    def batch(self, raw: Any, device: torch.device) -> Batch:
        """Split a batch as for any module; of two tensors of one shape, a second one of 0 and 1 is the mask.

        Raises
        ------
        InvalidData
            If it is unclear which of several tensors is the mask.
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
        """Run one forward without a key-value cache; a decoder without input starts from its start token."""
        inputs = batch.inputs
        taken = accepted(model)
        if isinstance(inputs, Tensor):
            inputs = {_input_name(model, inputs, taken): inputs}
        if not isinstance(inputs, Mapping):
            return super().forward(model, batch)
        inputs = dict(inputs)
        tower = _tower(model, inputs)
        if tower is not None:
            output = tower(**inputs)
            return {"features": output} if isinstance(output, Tensor) else output
        if "use_cache" in taken:
            inputs.setdefault("use_cache", False)
        # A classifier passes its shifted input to the decoder itself.
        if "decoder_input_ids" in taken and not type(model).__name__.endswith(_CLASSIFIERS):
            inputs = {**inputs, **_decoder_start(model, batch), **inputs}
        try:
            with padding_known(model, inputs) as known:
                return model(**known)
        except (IndexError, RuntimeError) as error:
            cause = beyond_limits(model, inputs.get("input_ids"))
            if cause:
                raise InvalidData(cause) from error
            raise

    def prefix_tokens(self, model: nn.Module, batch: Batch) -> int:
        """Count class, distillation and register tokens, from the parameters that hold them, and virtual tokens.

        Text, which has a mask, has virtual tokens only.
        """
        virtual = self.virtual_tokens(model)
        if batch.mask is not None:
            return virtual
        tokens = (value for name, value in model.named_parameters() if name.split(".")[-1] in _PREFIXES)
        return virtual + sum(value.shape[-2] if value.ndim > 1 else 1 for value in tokens)

    def virtual_tokens(self, model: nn.Module) -> int:
        """Count the tokens of PEFT's prompt tuning; prefix tuning has keys and values, and no tokens."""
        adapter = getattr(model, "active_adapter", None)
        config = getattr(model, "peft_config", {}).get(adapter) if isinstance(adapter, str) else None
        kind = str(getattr(getattr(config, "peft_type", None), "value", ""))
        return int(getattr(config, "num_virtual_tokens", 0)) if kind in ("PROMPT_TUNING", "P_TUNING") else 0

    def mask_at(self, model: nn.Module, mask: Tensor, length: int) -> Tensor:
        """Resample the mask, by the rule of a speech model's own convolutions if they have that many positions."""
        for module in model.modules():
            if hasattr(module, "_get_feature_vector_attention_mask"):
                speech: Any = module
                if int(speech._get_feat_extract_output_lengths(torch.tensor(mask.shape[1]))) == length:
                    feature_mask: Tensor = speech._get_feature_vector_attention_mask(length, mask)
                    return feature_mask
        return super().mask_at(model, mask, length)

    def pooling(self, model: nn.Module) -> str:
        """Return the last token for causal decoders, the class token for vision transformers, else the mean."""
        from transformers.models.auto import modeling_auto

        kind = getattr(getattr(model, "config", None), "model_type", "")
        causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        if causal and not masked:
            return "last"
        class_tokens = ("cls_token", "class_embedding")
        return "cls" if any(name.endswith(class_tokens) for name, _ in model.named_parameters()) else "mean"

    def prepare(self, model: nn.Module) -> Callable[[Sequence[Any]], Any] | None:
        """Return the preparation by the tokenizer or the image processor that was saved with the model."""
        return RawInputs(model, *self._origin(model))

    def example(self, model: nn.Module) -> Any:
        """Make two texts, pictures or sounds of the form that the model's configuration asks for."""
        return example_inputs(model)

    def _origin(self, model: nn.Module) -> tuple[str, dict[str, Any]]:
        if model in self._origins:
            return self._origins[model]
        config: Any = model.config
        return str(getattr(model, "name_or_path", "") or config.name_or_path), {"trust_remote_code": False}


def _decoder_start(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the start token of every sample for the decoder of an encoder-decoder; empty for other models."""
    config = getattr(model, "config", None)
    if not getattr(config, "is_encoder_decoder", False):
        return {}
    start = getattr(config, "decoder_start_token_id", None) or 0
    device = next(value.device for value in [*tensors_of(batch.inputs), *batch.labels.values()])
    return {"decoder_input_ids": torch.full((batch.size, 1), start, device=device)}


def _folders_near(name: str) -> list[str]:
    """Return the names of the folders in the parent of a path, or in the working directory."""
    parent = Path(name).parent if name.startswith((".", "/")) else Path()
    return [item.name for item in parent.iterdir() if item.is_dir()] if parent.is_dir() else []


def _loaded(name: str, options: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Load the network of a name, with the loading information of transformers."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(name, **options)
    heads = [item for item in config.architectures or () if item.endswith(_KEPT)]
    chosen = next((item for item in heads if hasattr(transformers, item)), None) or _class_in_code(config, heads)
    loaded: tuple[nn.Module, dict[str, Any]] = getattr(transformers, chosen).from_pretrained(
        name, output_loading_info=True, **options
    )
    model, info = loaded
    # Old releases of transformers name what is missing as in the network with a head that was saved.
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    own = model.state_dict().keys()
    missing = [key if key in own else key.removeprefix(prefix) for key in info["missing_keys"]]
    return model, {**info, "missing_keys": missing}


def _check_values(model: nn.Module, missing: Collection[str], name: str) -> None:
    """Refuse a network whose values are mostly random, and warn of one with some random values."""
    names = model.state_dict().keys()
    random = sorted(names & set(missing))
    if 2 * len(random) > len(names):
        raise InvalidData(
            f"'hf/{name:.200}' has values for {len(names) - len(random)} of the {len(names)} names of "
            f"{type(model).__name__}, which its configuration asks for: its weights are of another network"
        )
    if random:
        logger.warning("%s has no values for %s: they are random", name, listed(random))


def _class_in_code(config: Any, heads: Sequence[str]) -> str:
    """Return the class of transformers that loads code that comes with a model; ``AutoModel`` by default."""
    code = getattr(config, "auto_map", None) or {}
    classes = [name for name in code if name.startswith("AutoModel")]
    kept = [name for name in classes if code[name].rpartition(".")[2] in heads]
    return next(iter([*kept, *(["AutoModel"] if "AutoModel" in classes else classes)]), "AutoModel")


def _input_name(model: nn.Module, value: Tensor, taken: Collection[str]) -> str:
    """Return the name of a single input: pictures if its shape fits nothing else, else the model's main input."""
    if "pixel_values" in taken and value.is_floating_point() and value.ndim == 4:
        return "pixel_values"
    return str(getattr(model, "main_input_name", "input_ids"))


def _tower(model: nn.Module, inputs: Mapping[str, Any]) -> Callable[..., Any] | None:
    """Return the forward of the tower for these inputs, if the model has two towers and the inputs are for one."""
    towers: Any = model
    forward: Callable[..., Any] | None = None
    if hasattr(towers, "get_image_features") and hasattr(towers, "get_text_features"):
        if "input_ids" not in inputs and "pixel_values" in inputs:
            forward = towers.get_image_features
        elif "pixel_values" not in inputs and "input_ids" in inputs:
            forward = towers.get_text_features
    return forward


def _are_tokens(values: Sequence[Any]) -> bool:
    """Whether these are matrices of integers of one shape, of which the second of two is a mask."""
    if len(values) < 2 or not all(isinstance(value, Tensor) and value.ndim == 2 for value in values):
        return False
    same = all(value.shape == values[0].shape and not value.is_floating_point() for value in values)
    return same and (len(values) > 2 or bool(((values[1] == 0) | (values[1] == 1)).all()))


def _gguf(name: str) -> dict[str, str]:
    """Return the option that names the weights, for a folder with one GGUF file and no configuration."""
    folder = Path(name)
    files = sorted(folder.glob("*.gguf")) if folder.is_dir() else []
    if len(files) != 1 or (folder / "config.json").exists():
        return {}
    with from_extra("gguf", "a GGUF file"):
        import gguf  # noqa: F401
    return {"gguf_file": files[0].name}
