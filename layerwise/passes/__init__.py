"""The passes over one split: what is asked for, what is accumulated, and what comes of it."""

from layerwise.passes.hashed_subsample import Subsample
from layerwise.passes.label_replicates import LabelReplicates, Places, find_label_replicates, find_places
from layerwise.passes.label_shuffles import LabelShuffles
from layerwise.passes.positions.shuffles import PositionShuffles
from layerwise.passes.projection_comparison import measure_part
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.result import Key, Reference, SplitResult

__all__ = [
    "Key",
    "LabelReplicates",
    "LabelShuffles",
    "PassRequest",
    "Places",
    "PositionShuffles",
    "Reference",
    "Replicates",
    "SplitResult",
    "Subsample",
    "find_label_replicates",
    "find_places",
    "measure_part",
]
