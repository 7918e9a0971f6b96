"""The preparation of raw samples for models of transformers: texts, token ids or pictures."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from layerwise.adapters.pictures import PicturePreparation, averaged, check_channels
from layerwise.adapters.remote_code import refusing_code
from layerwise.adapters.texts import TextPreparation, most_tokens, vocabulary_size
from layerwise.errors import InvalidData, LayerwiseError
from layerwise.runtime.notes import Notes
from layerwise.runtime.progress import others_bars
from layerwise.runtime.reading_errors import reason, refusing

__all__ = ["RawInputs", "accepted"]


class RawInputs:
    """Prepares samples with the tokenizer or the image processor that was saved with a model, by the kind of samples.

    Parameters
    ----------
    model : Module
    name : str
        Hub id or folder of the model.
    options : mapping of str to str or bool
        Options of the tokenizer; the image processor takes ``trust_remote_code`` of them.

    Attributes
    ----------
    notes : Notes
        Lines on guesses, and on samples that were changed.
    """

    def __init__(self, model: nn.Module, name: str, options: Mapping[str, Any]) -> None:
        self.kind = type(model).__name__
        self.name = name
        self.notes = Notes()
        taken = accepted(model)
        main = str(getattr(model, "main_input_name", "input_ids"))
        self._options = dict(options)
        self._main = main
        self._texts = "input_ids" in taken or main == "input_ids"
        self._pictures = "pixel_values" in taken or main == "pixel_values"
        self._mask = not taken or "attention_mask" in taken
        self._towers = hasattr(model, "get_image_features") and hasattr(model, "get_text_features")
        config: Any = getattr(model, "config", None)
        self._channels = getattr(getattr(config, "vision_config", None) or config, "num_channels", 3)
        self._limits = (most_tokens(model), vocabulary_size(model)) if self._texts else (None, None)
        padding = getattr(config, "pad_token_id", None)
        self._padding = padding if padding != getattr(config, "eos_token_id", None) else None

    @cached_property
    def texts(self) -> TextPreparation:
        """The preparation of texts and token ids."""
        preparation = TextPreparation(self._tokenizer, *self._limits, self._padding)
        self.notes.include(preparation.notes)
        return preparation

    @cached_property
    def pictures(self) -> PicturePreparation:
        """The preparation of pictures."""
        import transformers

        trust = self._options.get("trust_remote_code", False)
        with self._loading("image processor"):
            processor = transformers.AutoImageProcessor.from_pretrained(self.name, trust_remote_code=trust)
        preparation = _picture_preparation(processor, self.name, self._channels)
        self.notes.include(preparation.notes)
        return preparation

    @property
    def text(self) -> str:
        """A short description of the preparations that were used."""
        used = [vars(self)[name].text for name in ("texts", "pictures") if name in vars(self)]
        return "; ".join(used)

    def longest(self) -> int:
        """Return the largest number of tokens of a text; longer texts are cut."""
        return self.texts.longest

    def token_counts(self, raw: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of tokens of every text, without and with special tokens, shape ``(n,)`` each.

        Raises
        ------
        InvalidData
            If the model takes no texts.
        """
        if not self._texts:
            raise self._mismatch("texts")
        return self.texts.token_counts(raw)

    def __call__(self, raw: Sequence[Any]) -> Any:
        """Prepare a batch.

        Raises
        ------
        InvalidData
            If the model does not take samples of this kind.
        """
        kind = _kind(raw[0])
        if not (self._texts or self._pictures):
            raise InvalidData(
                f"{self.kind} takes {self._main!r}, and data by name is prepared as texts, token ids or pictures; give "
                "a loader of its own inputs"
            )
        if not self._texts and kind != "arrays" and kind != "pictures":
            raise self._mismatch(kind)
        if not self._pictures and kind == "pictures":
            raise self._mismatch(kind)
        if kind == "pictures" and self._texts and self._main == "input_ids" and not self._towers:
            raise InvalidData(
                f"{self.kind} takes texts beside pictures, and the data has pictures alone; give a loader"
            )
        if self._pictures and (kind in ("pictures", "arrays") or not self._texts):
            self._note_tower("picture", kind)
            return self.pictures(raw)
        self._note_tower("text", kind)
        batch = self.texts(raw)
        return batch if self._mask else {key: value for key, value in batch.items() if key != "attention_mask"}

    def _tokenizer(self) -> Any:
        import transformers

        with self._loading("tokenizer"), others_bars():
            return transformers.AutoTokenizer.from_pretrained(self.name, **self._options)

    @contextmanager
    def _loading(self, what: str) -> Iterator[None]:
        """Raise any error of a library within the context as `InvalidData` that names what is missing."""
        try:
            with refusing_code(self.name):
                yield
        except LayerwiseError:
            raise
        except Exception as error:
            raise _missing(what, self.name, error) from error

    def _note_tower(self, tower: str, kind: str) -> None:
        if self._towers:
            self.notes.add(f"{self.kind} has two towers and the data has {kind} alone: only its {tower} tower runs")

    def _mismatch(self, kind: str) -> InvalidData:
        takes = " or ".join(["texts"] * self._texts + ["pictures"] * self._pictures) or self._main
        return InvalidData(f"{self.kind} takes {takes}, and the data has {kind}")


def _missing(what: str, name: str, error: Exception) -> InvalidData:
    """Return the error for a model without a tokenizer or an image processor."""
    where = f"can be had for the model {name!r} ({reason(error)})" if name else "is known for a model without a name"
    return InvalidData(
        f"no {what} {where}, as data by name needs. Save it beside the weights and name the model "
        "hf/FOLDER, or give a loader"
    )


def _picture_preparation(processor: Any, name: str, channels: int) -> PicturePreparation:
    """Return the preparation by an image processor; for one channel, pictures stay grey."""
    options: dict[str, Any] = {}
    if channels == 1:
        moments = {key: getattr(processor, key, None) for key in ("image_mean", "image_std")}
        options = {key: list(averaged(value, 1)) for key, value in moments.items() if value is not None}
        options |= {"do_convert_rgb": False} if hasattr(processor, "do_convert_rgb") else {}

    def transform(images: list[Any]) -> dict[str, Any]:
        with refusing(f"the image processor of {name!r} fails on the pictures"):
            batch = dict(processor(images=images, return_tensors="pt", **options))
        check_channels(batch["pixel_values"], channels)
        return batch

    return PicturePreparation(transform, channels, _description(processor))


def _description(processor: Any) -> str:
    """Return a short description of an image processor."""
    steps = {name: getattr(processor, name, None) for name in ("size", "crop_size", "image_mean", "image_std")}
    values = {name: dict(value) if isinstance(value, Mapping) else value for name, value in steps.items()}
    text = ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
    return f"{type(processor).__name__.removesuffix('Fast')}: {text}"


def accepted(model: nn.Module) -> frozenset[str]:
    """Return the names of the parameters of a model's forward, without a wrapper of PEFT."""
    inner: Any = getattr(model, "get_base_model", lambda: model)()
    return frozenset(inspect.signature(inner.forward).parameters)


def _kind(value: Any) -> str:
    """Return the kind of a raw sample: texts, token ids, pictures or arrays."""
    if isinstance(value, (str, tuple, list)):
        return "texts"
    if hasattr(value, "convert"):
        return "pictures"
    array = np.asarray(value)
    return "token ids" if array.ndim == 1 and array.dtype.kind in "iu" else "arrays"
