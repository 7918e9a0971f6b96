"""The data of the studies, as whole tensors."""

from layerwise.studies.data.mixtures import gaussian_mixture
from layerwise.studies.data.pictures import Splits, load_pictures
from layerwise.studies.data.places import locate
from layerwise.studies.data.regressions import load_river_flow, teacher_regression
from layerwise.studies.data.texts import load_texts

__all__ = [
    "Splits",
    "gaussian_mixture",
    "load_pictures",
    "load_river_flow",
    "load_texts",
    "locate",
    "teacher_regression",
]
