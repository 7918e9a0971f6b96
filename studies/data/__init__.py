"""The data of the studies, as whole tensors."""

from layerwise.studies.data.pictures import Splits, load_pictures

__all__ = ["Splits", "load_pictures"]
