"""Classifying pictures and texts: the data, the network and the recipe of each."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from layerwise.studies.data import Splits, load_pictures, load_texts
from layerwise.studies.networks import MLP, TextTransformer
from layerwise.studies.training.recipe import Recipe

__all__ = ["TASKS", "Task", "network_for", "on_texts", "splits_of"]

#: In vision and in text.
TASKS = ("pictures", "texts")


@dataclass(frozen=True)
class Task:
    """What a network is trained on.

    Attributes
    ----------
    data : str
    depth, width : int
        Of the network.
    recipe : Recipe
    """

    data: str
    depth: int
    width: int
    recipe: Recipe


def on_texts(epochs: int) -> Recipe:
    """How transformers are trained on texts."""
    return Recipe(epochs, batch_size=64, learning_rate=2e-3, weight_decay=0.01, optimiser="adamw")


def splits_of(name: str, task: Task) -> Splits:
    """The data of one of `TASKS`."""
    return load_pictures(task.data) if name == "pictures" else load_texts(task.data)


def network_for(name: str, task: Task, splits: Splits) -> nn.Module:
    """A new network for one of `TASKS`: a multilayer perceptron with batch norm, or a transformer."""
    inputs, labels = splits["train"]
    classes = int(labels.max()) + 1
    if name == "pictures":
        return MLP(inputs[0].numel(), classes, width=task.width, depth=task.depth, norm="batch")
    words = 1 + max(int(values.max()) for values, _ in splits.values())
    return TextTransformer(words, classes, inputs.shape[1], width=task.width, depth=task.depth)
