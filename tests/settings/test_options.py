"""Settings as keyword arguments."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from layerwise.errors import InvalidArgument, UnknownName
from layerwise.settings import KINDS, Settings, SettingsOptions, merge_settings


def test_options_have_the_fields_and_types_of_settings():
    assert get_type_hints(SettingsOptions) == get_type_hints(Settings)
    assert SettingsOptions.__required_keys__ == frozenset()


def test_every_setting_has_a_kind():
    assert list(KINDS) == [field.name for field in fields(Settings)]


def test_options_replace_settings():
    merged = merge_settings(Settings(ridge=0.5, seed=3), {"seed": 4})
    assert merged == Settings(ridge=0.5, seed=4)


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="no setting 'jacknife'; nearest: jackknife"):
        merge_settings(None, {"jacknife": 10})
    with pytest.raises(UnknownName, match="no setting 'device_'; nearest: device"):
        merge_settings(None, {"device_": "cpu"}, ("device",))


@pytest.mark.parametrize(
    "options", [{"reduce": "tokens", "heads": {"label": "fc"}}, {"ignore_index": 0}, {"samples_per_class": 3}]
)
def test_options_that_exclude_each_other_are_invalid_arguments(options):
    with pytest.raises(InvalidArgument):
        merge_settings(None, options)
