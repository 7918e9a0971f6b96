"""Small networks of every kind, their inputs, and their layers as plain functions of one sample's real input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from helpers.networks import Convolutional, Perceptron
from torch import Tensor, nn

__all__ = ["CASES", "Case"]

TOKENS, LENGTHS = 5, (5, 3, 2, 4)
Pool = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A network in double precision, a batch for it, and what it takes to see one sample of it alone.

    Attributes
    ----------
    network : Module
    batch : (inputs, labels)
        As a loader gives it.
    samples : list of Tensor
        Real input of every sample, ``(1, ...)``, without padding.
    call : callable
        Runs the network on one of them.
    layers : dict of str to callable
        Pooling of every layer that is compared.
    options : dict
        Of the profile.
    tolerance : float
        Relative, of what the network computes in double precision.
    """

    network: nn.Module
    batch: Any
    samples: list[Tensor]
    call: Callable[[Tensor], Any]
    layers: Mapping[str, Pool]
    options: Mapping[str, Any]
    tolerance: float = 1e-10


def _maps(activation: Tensor) -> Tensor:
    return activation.mean((2, 3))


def _channels_last(activation: Tensor) -> Tensor:
    return activation.mean((1, 2))


def _tokens(activation: Tensor) -> Tensor:
    return activation.mean(1)


def _patches(activation: Tensor) -> Tensor:
    return activation[:, 1:].mean(1)


def _first(activation: Tensor) -> Tensor:
    return activation[:, 0]


def _last(activation: Tensor) -> Tensor:
    return activation[:, -1]


def _plain(network: nn.Module, shape: tuple[int, ...], pools: Mapping[str, Pool], **options: Any) -> Case:
    """Of a network of real inputs."""
    network = _unsettled(network)
    inputs, labels = torch.randn(4, *shape, dtype=torch.float64), torch.tensor([0, 1, 0, 2])
    return Case(network, (inputs, labels), list(inputs.split(1)), network, pools, options)


def _unsettled(network: nn.Module) -> nn.Module:
    """In double precision, with the statistics of a batch norm and the scales of a layer as training leaves them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            nn.init.normal_(parameter)
    return network.double().train()


def _timm(name: str, size: int, layers: Mapping[str, Pool], reduce: str = "auto", **config: Any) -> Case:
    import timm

    network = timm.create_model(name, in_chans=1, num_classes=3, **config)
    return _plain(network, (1, size, size), layers, layers=list(layers), reduce=reduce)


def _text(network: nn.Module, embedding: nn.Module, layers: Mapping[str, Pool], reduce: str, *, left: bool) -> Case:
    """Of a network of transformers: texts of unequal length, padded on one side."""
    network = network.double().train()
    ids = torch.randint(3, 30, (4, TOKENS))
    place = torch.arange(TOKENS).expand(4, -1)
    lengths = torch.tensor(LENGTHS)[:, None]
    mask = (place >= TOKENS - lengths if left else place < lengths).long()
    batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 1, 0, 2])}
    if left:
        # Of padding on the left, positions begin where the text does.
        batch["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
    samples = [embedding(own[kept.bool()])[None].detach() for own, kept in zip(ids, mask, strict=True)]
    options = {"layers": list(layers), "reduce": reduce}
    return Case(network, batch, samples, lambda value: network(inputs_embeds=value), layers, options)


def _bert(reduce: str = "mean", pool: Pool = _tokens) -> Case:
    import transformers

    config = transformers.BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    network = transformers.BertModel(config, add_pooling_layer=False)
    layers = {"embeddings": pool, "encoder.layer.0": pool, "encoder.layer.1": pool}
    return _text(network, network.embeddings.word_embeddings, layers, reduce, left=False)


def _llama(*, left: bool = False) -> Case:
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
    )
    network = transformers.LlamaModel(config)
    layers = {"layers.0": _last, "layers.1": _last, "norm": _last}
    # Its norms are in single precision whatever the network is in.
    return replace(_text(network, network.embed_tokens, layers, "last", left=left), tolerance=1e-6)


class _Bag(nn.Module):
    """Tokens of a plain network, positions embedded before them."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(TOKENS, 6)
        self.tokens = nn.Embedding(30, 6)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        place = self.positions(torch.arange(ids.shape[1], device=ids.device))
        return self.later(self.tokens(ids) + place)

    def later(self, embedded: Tensor) -> Tensor:
        return self.head(self.body(embedded).mean(1))


def _bag() -> Case:
    network = _Bag().double()
    ids = torch.randint(0, 30, (4, TOKENS))

    def call(embedded: Tensor) -> Tensor:
        return network.later(embedded + network.positions(torch.arange(TOKENS)))

    samples = [network.tokens(own)[None].detach() for own in ids]
    layers = {"body": _tokens, "head": lambda activation: activation}
    return Case(network, (ids, torch.tensor([0, 1, 0, 2])), samples, call, layers, {"layers": list(layers)})


def _same(activation: Tensor) -> Tensor:
    return activation


CASES: dict[str, Callable[[], Case]] = {
    "perceptron": lambda: _plain(Perceptron(), (8,), {"first": _same, "second": _same, "classifier": _same}),
    "activations in place": lambda: _plain(
        Convolutional(), (3, 5, 5), {"stem": _maps, "blocks.0": _maps, "blocks.1": _maps, "classifier": _same}
    ),
    "ResNet": lambda: _timm("test_resnet", 16, {"layer1.0": _maps, "layer3.0": _maps, "layer4.0": _maps, "fc": _same}),
    "ViT": lambda: _timm(
        "test_vit", 16, {"blocks.0": _first, "blocks.5": _first, "head": _same}, img_size=16, patch_size=8
    ),
    "ViT, patches": lambda: _timm(
        "test_vit", 16, {"blocks.0": _patches, "blocks.5": _patches}, "mean", img_size=16, patch_size=8
    ),
    "ConvNeXt": lambda: _timm(
        "convnext_tiny",
        32,
        {"stages.0.blocks.0": _maps, "stages.3": _maps, "head.fc": _same},
        depths=(2, 1, 1, 1),
        dims=(8, 8, 12, 16),
    ),
    "Swin": lambda: _timm(
        "swin_tiny_patch4_window7_224",
        16,
        {"layers.0.blocks.0": _channels_last, "layers.1.blocks.1": _channels_last, "head": _same},
        img_size=16,
        patch_size=2,
        window_size=4,
        depths=(2, 2),
        num_heads=(2, 4),
        embed_dim=16,
    ),
    "BERT": _bert,
    "BERT, class token": lambda: _bert("cls", _first),
    "Llama": _llama,
    "Llama, padded on the left": lambda: _llama(left=True),
    "bag of tokens": _bag,
}
