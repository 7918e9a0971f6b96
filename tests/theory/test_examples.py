"""The room of theory: its examples are right, and it needs no network."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

from layerwise import theory


@pytest.mark.parametrize("name", [module.name for module in iter_modules(theory.__path__)])
def test_examples_are_right(name):
    module = import_module(f"layerwise.theory.{name}")
    assert doctest.testmod(module).failed == 0
    assert set(module.__all__) <= set(vars(module))


def test_theory_loads_neither_torch_nor_xarray():
    code = "import sys, layerwise.theory; print(sorted({'torch', 'xarray', 'sklearn'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
