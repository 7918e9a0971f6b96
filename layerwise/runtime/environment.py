"""Versions of packages and the git commit, for the attributes of a profile."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version

__all__ = ["environment"]

_PACKAGES = ("layerwise", "torch", "timm", "transformers", "datasets", "xarray", "numpy", "scipy")


def environment() -> dict[str, str]:
    """Return the versions of the packages that the numbers depend on, and the commit of the working directory."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "packages": " ".join(f"{name}=={number}" for name, number in versions.items()),
        "git_commit": _commit(),
    }


def _commit() -> str:
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
