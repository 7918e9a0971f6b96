"""Conventions: named choices of means, weights and tolerances, on which papers disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layerwise.errors import UnknownName

__all__ = ["CONVENTIONS", "REACHES", "Convention", "convention", "reached"]


_FROM_MEANS = (
    *("equinorm", "equiangularity", "max_angle", "etf_error", "hyperspherical_energy", "class_norm"),
    *("majority_cosine", "minority_cosine", "self_duality"),
)
_SCATTERS = ("nc1", "nc1_trace", "vci")

#: The metrics that each field of a convention changes.
REACHES: dict[str, tuple[str, ...]] = {
    "global_mean": (*_SCATTERS, *_FROM_MEANS),
    "within": _SCATTERS,
    "between": _SCATTERS,
    "divided": ("nc1",),
    "rank": ("nc1", "between_rank"),
    "ddof": ("equinorm",),
    "shrinkage": ("h_score",),
    "debiased": ("nc1", "nc1_trace", "cdnv", "vci", "h_score"),
}


@dataclass(frozen=True)
class Convention:
    """How class means, scatters and spreads are weighted; every choice is computed from the same statistics.

    `REACHES` names the metrics that each field changes. All others are the same under every convention: `separation`
    has its own, `cdnv` uses no weights, and `h_score` takes the covariance of all samples.

    Attributes
    ----------
    name : str
        The name that the Dataset records.
    global_mean : {"classes", "samples"}
        Whether ``mu_G`` is the mean of the class means or of the samples.
    within, between : {"samples", "classes"}
        Whether every sample or every class counts once in ``S_W``, in ``S_B``.
    divided : bool
        Whether ``nc1`` is divided by the number of classes.
    rank : {"tolerance", "classes"}
        Whether ``S_B^+`` keeps the singular values above the tolerance or the top ``C - 1``.
    ddof : {0, 1}
        Delta degrees of freedom of standard deviations.
    shrinkage : {"none", "ledoit_wolf"}
        Whether `h_score` inverts the covariance itself, or the one that Ledoit & Wolf shrink, which takes a second
        pass.
    debiased : bool
        Whether `nc1`, `nc1_trace` and `cdnv` are corrected for the sampling error of the class means, and `vci` and
        `h_score` for what features fitted to labels explain by chance.

    Raises
    ------
    UnknownName
        If a choice is none of those above.
    """

    name: str
    global_mean: Literal["classes", "samples"] = "classes"
    within: Literal["samples", "classes"] = "samples"
    between: Literal["classes", "samples"] = "classes"
    divided: bool = True
    rank: Literal["tolerance", "classes"] = "tolerance"
    ddof: Literal[0, 1] = 0
    shrinkage: Literal["none", "ledoit_wolf"] = "none"
    debiased: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (
            *((name, ("classes", "samples")) for name in ("global_mean", "within", "between")),
            ("rank", ("tolerance", "classes")),
            ("ddof", (0, 1)),
        ):
            if getattr(self, name) not in allowed:
                raise UnknownName(f"{name} of a convention", str(getattr(self, name)), map(str, allowed))


#: The conventions that have a name. ``default``: Zhu 2021, Zhou 2022, Tirer 2022; ``papyan``: Papyan 2020, Parker
#: 2023; ``he_su`` and ``he_su_imbalanced``: He & Su 2022; ``ibrahim``: the default with the H-score of Ibrahim 2021.
CONVENTIONS: dict[str, Convention] = {
    item.name: item
    for item in (
        Convention("default"),
        Convention("papyan", divided=False, rank="classes", ddof=1),
        Convention("he_su", global_mean="samples", within="classes", divided=False),
        Convention("he_su_imbalanced", global_mean="samples", between="samples", divided=False),
        Convention("ibrahim", shrinkage="ledoit_wolf"),
    )
}


def reached(convention: Convention) -> list[str]:
    """Return the names of the metrics that a convention changes from the default where classes are unequal."""
    default = CONVENTIONS["default"]
    fields = [field for field in REACHES if getattr(convention, field) != getattr(default, field)]
    return list(dict.fromkeys(name for field in fields for name in REACHES[field]))


def convention(name: str | Convention) -> Convention:
    """Return a convention by name; a `Convention` is returned as it is.

    Raises
    ------
    UnknownName
        If there is no convention of that name; the error lists those that there are.
    """
    if isinstance(name, Convention):
        return name
    if name not in CONVENTIONS:
        raise UnknownName("convention", name, CONVENTIONS)
    return CONVENTIONS[name]
