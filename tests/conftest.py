"""Tests that run side by side, one process a core, take one thread each."""

from __future__ import annotations

import os

# Before torch is imported, which reads it once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
