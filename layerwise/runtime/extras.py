"""Packages that a plain install lacks: each belongs to an extra of the distribution, which the one error names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from layerwise.errors import MissingPackage

__all__ = ["from_extra"]


@contextmanager
def from_extra(extra: str, needed_by: str) -> Iterator[None]:
    """A context for imports of packages that an extra of the distribution brings.

    Parameters
    ----------
    extra : str
        Its name in pyproject.toml.
    needed_by : str
        What needs the packages, as the subject of the message.

    Raises
    ------
    MissingPackage
        If a package is not installed.

    Examples
    --------
    >>> with from_extra("netcdf", "a file of NetCDF"):
    ...     import a_package_that_nobody_has
    Traceback (most recent call last):
        ...
    layerwise.errors.MissingPackage: a file of NetCDF needs the package a_package_that_nobody_has: pip install
    'layerwise[netcdf]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise MissingPackage(
            f"{needed_by} needs the package {package}: pip install 'layerwise[{extra}]'", name=error.name
        ) from error
