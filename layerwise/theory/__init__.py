"""Closed forms of neural collapse beside what optimisation finds: predicted minimisers, frames and problems."""

from layerwise.theory import frames, optimise, problems
from layerwise.theory.cross_entropy import CrossEntropyMinimiser, cross_entropy_minimiser
from layerwise.theory.minimiser import Minimiser
from layerwise.theory.ranges import OutOfRange

__all__ = [
    "CrossEntropyMinimiser",
    "Minimiser",
    "OutOfRange",
    "cross_entropy_minimiser",
    "frames",
    "optimise",
    "problems",
]
