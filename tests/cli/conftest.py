"""The command line."""

from helpers.command_line import type_in  # noqa: F401
