"""The passes over one split: what is asked for, what is accumulated, and what comes of it."""

from layerwise.passes.complexity import ComplexityPass
from layerwise.passes.first import FirstPass
from layerwise.passes.label_replicates import Beforehand, Places, find_beforehand, find_places
from layerwise.passes.positions.both_passes import FirstPassApart, SecondPassApart, draws
from layerwise.passes.positions.shuffles import PositionShuffles
from layerwise.passes.replicates import Shuffles
from layerwise.passes.request import Request
from layerwise.passes.result import Key, Reference, SplitResult
from layerwise.passes.second import SecondPass

__all__ = [
    "Beforehand",
    "ComplexityPass",
    "FirstPass",
    "FirstPassApart",
    "Key",
    "Places",
    "PositionShuffles",
    "Reference",
    "Request",
    "SecondPass",
    "SecondPassApart",
    "Shuffles",
    "SplitResult",
    "draws",
    "find_beforehand",
    "find_places",
]
