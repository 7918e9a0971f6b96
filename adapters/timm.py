"""Models of timm by name, with weights from the hub or a local file, or with random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from layerwise.adapters.pictures import PicturePreparation, averaged, check_channels
from layerwise.adapters.protocol import Batch
from layerwise.adapters.torch import TorchAdapter
from layerwise.errors import InvalidData, UnknownName
from layerwise.runtime.reading_errors import reason, refusing

__all__ = ["TimmAdapter"]


class TimmAdapter(TorchAdapter):
    """Loads and runs models of timm by names ``timm/NAME``.

    ``timm/NAME?file=PATH`` and ``?checkpoint=PATH`` take weights from a local file. ``?pretrained=0`` leaves the
    weights random, ``?num_classes=10`` makes a random head of that size. Several options are joined by ``&``.
    """

    name = "timm"

    def claims(self, model: nn.Module) -> bool:
        """Claim modules with timm's configuration."""
        return hasattr(model, "pretrained_cfg") or type(model).__module__.startswith("timm.")

    def load(self, name: str) -> nn.Module:
        """Create the model of that name.

        Raises
        ------
        UnknownName
            If timm has no such model, or an option or a file does not exist.
        InvalidData
            If the weights cannot be fetched, or are those of another network.
        """
        import timm

        name, options = _options(name)
        if not name.startswith("hf-hub:"):
            _check_name(name)
        settings: dict[str, Any] = {"pretrained": options.pop("pretrained", "1") not in ("0", "false")}
        if "file" in options:
            settings["pretrained_cfg_overlay"] = {"file": _file(options.pop("file")), "hf_hub_id": None, "url": ""}
        if "checkpoint" in options:
            settings.update(pretrained=False, checkpoint_path=_file(options.pop("checkpoint")))
        if "num_classes" in options:
            settings["num_classes"] = _count(options.pop("num_classes"))
        if options:
            known = ["pretrained", "file", "checkpoint", "num_classes"]
            raise UnknownName("option of a timm model", next(iter(options)), known)
        try:
            model: nn.Module = timm.create_model(name, **settings)
        except Exception as error:
            # On a broken file, timm and torch may raise any error.
            file = settings.get("checkpoint_path") or settings.get("pretrained_cfg_overlay", {}).get("file")
            where = f" in {file!r}" if file else ""
            raise InvalidData(
                f"the weights of {name!r}{where} cannot be had or do not fit: {reason(error)}; ?file=PATH takes them "
                "from a file, ?pretrained=0 leaves them random"
            ) from error
        return model.eval()

    def head(self, model: nn.Module) -> str | None:
        """Return the classifier that the model's configuration names; None if it names several."""
        classifier = _config(model).get("classifier")
        present = dict(model.named_modules())
        names = [classifier] if isinstance(classifier, str) else list(classifier or ())
        heads = [name for name in names if not isinstance(present.get(name), (nn.Identity, type(None)))]
        return heads[0] if len(heads) == 1 else None

    def pooling(self, model: nn.Module) -> str:
        """Return the network's own ``global_pool``: its class token, or the mean."""
        return "cls" if getattr(model, "global_pool", "") == "token" else "mean"

    def prepare(self, model: nn.Module) -> Callable[[Sequence[Any]], Any] | None:
        """Return the evaluation transform of the model's configuration; for one channel, pictures stay grey."""
        from timm.data.config import resolve_model_data_config
        from timm.data.transforms_factory import create_transform

        channels = _channels(model)
        settings: dict[str, Any] = resolve_model_data_config(model)
        settings |= {key: averaged(settings[key], channels) for key in ("mean", "std")}
        transform = create_transform(**settings, is_training=False)

        def stacked(pictures: list[Any]) -> torch.Tensor:
            return check_channels(torch.stack([transform(item) for item in pictures]), channels)

        return PicturePreparation(stacked, channels, _description(settings))

    def example(self, model: nn.Module) -> Any:
        """Make two pictures of the size that the model's configuration names."""
        _, height, width = _config(model).get("input_size", (3, 224, 224))
        return torch.randn(2, _channels(model), height, width)

    def batch(self, raw: Any, device: torch.device) -> Batch:
        """Split a batch as for any module; in a mapping, the only entry besides the labels is the pictures."""
        batch = super().batch(raw, device)
        if isinstance(batch.inputs, dict) and len(batch.inputs) == 1:
            return Batch(next(iter(batch.inputs.values())), batch.labels, batch.size)
        return batch


def _description(settings: Mapping[str, Any]) -> str:
    """Return a short description of a transform."""
    _, height, width = settings["input_size"]
    size = f"{height}x{width} {settings['interpolation']}, crop {settings['crop_pct']:.3g}"
    scale = ["/".join(f"{value:.3g}" for value in settings[name]) for name in ("mean", "std")]
    return f"{size}, mean {scale[0]}, std {scale[1]}"


def _config(model: nn.Module) -> Mapping[str, Any]:
    config: Any = getattr(model, "pretrained_cfg", None)
    return config or {}


def _channels(model: nn.Module) -> int:
    """Return the input channels of the first convolution; without any, those of the configuration."""
    first = _config(model).get("first_conv")
    present = dict(model.named_modules())
    named = [present.get(name) for name in ([first] if isinstance(first, str) else list(first or ()))]
    for module in [*named, *present.values()]:
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return int(_config(model).get("input_size", (3,))[0])


def _check_name(name: str) -> None:
    import timm
    from timm.models import is_model

    architecture, _, tag = name.partition(".")
    if not is_model(architecture):
        raise UnknownName("timm model", name, timm.list_models())
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        raise UnknownName("timm model", name, [*tagged, architecture])


def _file(name: str) -> str:
    path = Path(name)
    with refusing(f"the file of weights {name!r:.200} cannot be looked up", OSError):
        if not path.is_file():
            raise UnknownName("file of weights", name, map(str, path.parent.glob("*")))
    return name


def _count(value: str) -> int:
    if not value.isdecimal():
        raise InvalidData(f"num_classes={value}: a whole number, 0 for a network without a classifier")
    return int(value)


def _options(name: str) -> tuple[str, dict[str, str]]:
    name, _, query = name.partition("?")
    return name, dict(part.partition("=")[::2] for part in query.split("&") if part)
