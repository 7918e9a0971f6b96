"""The one training loop of all studies."""

from layerwise.studies.training.loop import train
from layerwise.studies.training.mixup import Mixup, mixed
from layerwise.studies.training.recipe import Recipe
from layerwise.studies.training.tracked import train_and_track

__all__ = ["Mixup", "Recipe", "mixed", "train", "train_and_track"]
