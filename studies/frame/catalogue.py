"""The studies that there are: the modules of the folder `studies`, one a claim."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from layerwise.errors import UnknownName

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from layerwise.store import Store
    from layerwise.studies.frame.claim import Claim

__all__ = ["Study", "find_study", "group_of", "is_group", "list_groups", "list_studies", "scaled", "title"]

_HOME = "layerwise.studies"


class Study(Protocol):
    """What a module in `studies` has.

    Its docstring says the claim in the first line; then the paper, what is measured, what would refute the claim, and
    the negative control. A module that belongs to a group of studies says so by its ``GROUP``.
    """

    __doc__: str | None
    __name__: str
    #: Settings by scale: ``quick``, ``default`` and ``full``; each has the field ``seeds``.
    SCALES: Mapping[str, Any]

    def run(self, settings: Any, store: Store) -> xr.Dataset:
        """Measure, with ``seed`` as the first dim; what the store has already is not measured again."""

    def claims(self, ds: xr.Dataset) -> list[Claim]:
        """Judge."""

    def figure(self, ds: xr.Dataset) -> Figure:
        """Draw."""


def list_studies(group: str | None = None) -> list[str]:
    """The names of the studies, or of those of a group: the modules of `layerwise.studies` that are no packages."""
    package = import_module(_HOME)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)
    return names if group is None else [name for name in names if group_of(find_study(name)) == group]


def list_groups() -> list[str]:
    """The groups that studies belong to."""
    return sorted({group for name in list_studies() if (group := group_of(find_study(name)))})


def is_group(name: str) -> bool:
    """Whether a name is that of a group, and not of a study."""
    return name.replace("-", "_") not in list_studies() and name in list_groups()


def group_of(study: Study) -> str:
    """The group of a study; empty for one that stands alone."""
    group: str = getattr(study, "GROUP", "")
    return group


def find_study(name: str) -> Study:
    """A study by its name, with hyphens or underscores.

    Raises
    ------
    UnknownName
        If there is no such study.
    """
    there = list_studies()
    known = name.replace("-", "_")
    if known not in there:
        raise UnknownName("study", name, there)
    study: Any = import_module(f"{_HOME}.{known}")
    return study  # type: ignore[no-any-return]


def scaled(study: Study, scale: str) -> Any:
    """The settings of a study at a scale.

    Raises
    ------
    UnknownName
        If there is no such scale.
    """
    if scale not in study.SCALES:
        raise UnknownName("scale", scale, study.SCALES)
    return study.SCALES[scale]


def title(study: Study) -> str:
    """The claim: the first line of the docstring."""
    return (study.__doc__ or "").strip().partition("\n")[0]
