"""Tests marked `real` are skipped where what they name is not, as in `tests/real`."""

from __future__ import annotations

from pathlib import Path

import pytest
from real.conftest import pytest_runtest_setup
from real.fetch import folder

__all__ = ["pytest_runtest_setup", "real_folder"]


@pytest.fixture
def real_folder() -> Path:
    return folder()
