"""The passes over one split: what is asked for, what is accumulated, and what comes of it."""

from layerwise.passes.complexity import ComplexityPass
from layerwise.passes.first import FirstPass
from layerwise.passes.hashed_subsample import Subsample
from layerwise.passes.label_replicates import LabelReplicates, Places, find_label_replicates, find_places
from layerwise.passes.label_shuffles import LabelShuffles
from layerwise.passes.positions.both_passes import PositionsFirstPass, PositionsSecondPass, draws
from layerwise.passes.positions.shuffles import PositionShuffles
from layerwise.passes.projection_comparison import measure_part
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.result import Key, Reference, SplitResult
from layerwise.passes.second import SecondPass

__all__ = [
    "ComplexityPass",
    "FirstPass",
    "Key",
    "LabelReplicates",
    "LabelShuffles",
    "PassRequest",
    "Places",
    "PositionShuffles",
    "PositionsFirstPass",
    "PositionsSecondPass",
    "Reference",
    "Replicates",
    "SecondPass",
    "SplitResult",
    "Subsample",
    "draws",
    "find_label_replicates",
    "find_places",
    "measure_part",
]
