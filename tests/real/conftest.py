"""Tests marked `real` run where their weights and data are, and say elsewhere how to bring them."""

from __future__ import annotations

import pytest

from .fetch import ITEMS, folder, missing


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `real("cifar10", ...)` that lacks an item it names; without names, it needs all."""
    for marker in item.iter_markers("real"):
        absent = missing(marker.args or tuple(ITEMS), folder())
        if absent:
            pytest.skip(f"not in {folder()}: run `python tests/real/fetch.py {' '.join(absent)}`")
