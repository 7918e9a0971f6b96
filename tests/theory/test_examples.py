"""The examples in the docstrings give what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

from layerwise import theory


@pytest.mark.parametrize("name", [module.name for module in iter_modules(theory.__path__)])
def test_examples_give_what_they_say(name):
    module = import_module(f"layerwise.theory.{name}")
    assert doctest.testmod(module).failed == 0
    assert set(module.__all__) <= set(vars(module))
