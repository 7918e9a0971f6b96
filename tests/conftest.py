"""Tests that run side by side, one process a core, take one thread each; none leaves its logging to the next."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

# Before torch is imported, which reads it once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put the levels and handlers back that a command sets for its own process."""
    loggers = [logging.getLogger(), logging.getLogger("layerwise")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
