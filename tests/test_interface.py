"""Functions that measure take the same arguments in the same form."""

from __future__ import annotations

import inspect
from itertools import combinations

import pytest

import layerwise as lw

DOORS = [lw.profile, lw.Profiler, lw.similarity, lw.rank, lw.Tracker, lw.profile_checkpoints]
# One network by name or as a module, a module in training, or several.
MODELS = ("model", "models")
# A ranking is by a metric, a schedule by epochs or steps.
TWO_MEANINGS = ("by",)


def signature(door) -> dict[str, inspect.Parameter]:
    function = door.__init__ if inspect.isclass(door) else door
    return {name: item for name, item in inspect.signature(function).parameters.items() if name != "self"}


@pytest.mark.parametrize("door", DOORS)
def test_the_model_comes_first_and_the_data_second(door):
    model, data = list(signature(door).values())[:2]
    assert model.name in MODELS
    assert data.name == "data"
    assert model.default is data.default is inspect.Parameter.empty


@pytest.mark.parametrize("door", DOORS)
def test_device_batch_size_settings_and_options_are_taken_by_name(door):
    taken = signature(door)
    for name in ("device", "batch_size", "settings"):
        assert taken[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert taken["options"].annotation == "Unpack[SettingsOptions]"


@pytest.mark.parametrize(("one", "other"), list(combinations(DOORS, 2)))
def test_an_argument_of_one_name_is_the_same_argument(one, other):
    first, second = signature(one), signature(other)
    shared = [name for name in first if name in second]
    assert shared == [name for name in second if name in first]
    for name in shared:
        if name not in MODELS + TWO_MEANINGS:
            assert (first[name].annotation, first[name].default) == (second[name].annotation, second[name].default)
