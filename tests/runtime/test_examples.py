"""The examples of the rooms at the bottom are right."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

from layerwise import checkpoints, data, runtime, statistics

NAMES = [
    *("layerwise.errors", "layerwise.arguments", "layerwise.schema"),
    *(
        f"{room.__name__}.{item.name}"
        for room in (runtime, checkpoints, data, statistics)
        for item in iter_modules(room.__path__)
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_right(name):
    module = import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
    assert set(module.__all__) <= set(vars(module))
