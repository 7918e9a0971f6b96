"""What to measure, and how: the options of everything that measures."""

from layerwise.settings.arguments import ARGUMENTS, SETTINGS
from layerwise.settings.kinds import CLASSES, KINDS, AskedFrame
from layerwise.settings.settings import Settings, SettingsOptions, merge_settings, refuse_without_effect

__all__ = [
    "ARGUMENTS",
    "CLASSES",
    "KINDS",
    "SETTINGS",
    "AskedFrame",
    "Settings",
    "SettingsOptions",
    "merge_settings",
    "refuse_without_effect",
]
