"""A claim: a number against a bound, never a sentence."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Claim", "Relation", "claim", "claims_table", "measurement"]

#: How a measured value has to stand to the bound; nothing where there is none.
Relation = Literal["<", "<=", ">", ">=", ""]

_HOLDS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Claim:
    """A measured number against a bound that was there before the measurement.

    Attributes
    ----------
    text : str
        What is claimed, with the name of the number.
    values : tuple of float
        What was measured, one number a seed (or a random start, or a point of a grid).
    relation : {"<", "<=", ">", ">=", ""}
        How each of them has to stand to the bound; empty for a measurement, which has none.
    bound : float
        From the paper.
    control : bool
        Whether this is the negative control: where the cause is taken away, the effect has to be gone.

    Examples
    --------
    >>> law = Claim("R^2 of the line", (0.99, 0.97, 0.96), ">", 0.95)
    >>> law.held, law.spread
    (True, '0.973 ± 0.015')
    """

    text: str
    values: tuple[float, ...]
    relation: Relation
    bound: float
    control: bool = False

    @property
    def judged(self) -> bool:
        """Whether there is a bound to judge by."""
        return self.relation != ""

    @property
    def times(self) -> int:
        """For how many of the values the claim holds; never for NaN."""
        holds = _HOLDS.get(self.relation)
        return 0 if holds is None else sum(bool(holds(value, self.bound)) for value in self.values)

    @property
    def held(self) -> bool:
        """Whether the claim held every time."""
        return bool(self.values) and self.times == len(self.values)

    @property
    def defined(self) -> tuple[float, ...]:
        """The values that there are: all but NaN."""
        return tuple(value for value in self.values if not math.isnan(value))

    @property
    def spread(self) -> str:
        """Mean and standard deviation of what was measured, and of how many where some were not defined."""
        if not self.defined:
            return "not defined"
        told = _number(float(np.mean(self.defined)))
        if len(self.defined) > 1:
            told += f" ± {_number(float(np.std(self.defined, ddof=1)), 2)}"
        missing = len(self.defined) < len(self.values)
        return f"{told} ({len(self.defined)} of {len(self.values)})" if missing else told

    @property
    def range(self) -> str:
        """Least and greatest of what was measured."""
        return f"{_number(min(self.defined))} to {_number(max(self.defined))}" if self.defined else "-"


def claim(text: str, values: ArrayLike, relation: Relation, bound: float, *, control: bool = False) -> Claim:
    """Make a claim of an array of values, such as a DataArray over ``seed``.

    Parameters
    ----------
    text : str
    values : array_like
        Of any shape; every value has to meet the bound.
    relation : {"<", "<=", ">", ">="}
    bound : float
    control : bool

    Returns
    -------
    Claim

    Examples
    --------
    >>> claim("gap to the closed form", [1e-9, 2e-8], "<=", 1e-6).held
    True
    """
    return Claim(text, tuple(map(float, np.asarray(values, dtype=float).ravel())), relation, float(bound), control)


def measurement(text: str, values: ArrayLike) -> Claim:
    """What was measured where there is no bound to judge by: told, and not counted among the claims.

    Examples
    --------
    >>> measurement("depth of the best layer", [0.8, 0.9]).judged
    False
    """
    return Claim(text, tuple(map(float, np.asarray(values, dtype=float).ravel())), "", math.nan)


def claims_table(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Rows of text, one a claim: ``claim``, ``measured``, ``range``, ``bound`` and ``held``."""
    return [
        {
            "claim": f"control: {item.text}" if item.control else item.text,
            "measured": item.spread,
            "range": item.range,
            "bound": f"{item.relation} {_number(item.bound)}" if item.judged else "-",
            "held": f"{'yes' if item.held else 'NO'} ({item.times}/{len(item.values)})" if item.judged else "-",
        }
        for item in claims
    ]


def _number(value: float, digits: int = 3) -> str:
    if not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.{digits}g}" if abs(value) < 1000 or not math.isfinite(value) else f"{value:.0f}"
    return f"{value:.1e}"
