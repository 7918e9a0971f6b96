"""What a message about a broken file must be: one line, of a caller's mistake, that names what was read."""

from __future__ import annotations

from pathlib import Path

__all__ = ["assert_one_line"]

# Advice to run what a file holds, and remains of a library's own messages.
_NEVER = ("weights_only=False", "allow_pickle=True", "add_safe_globals", "Traceback", "\n", "\r", "\x1b")


def assert_one_line(error: BaseException, *names: str | Path) -> None:
    """Fail unless an error says something in one line of bounded length, and has these names in it."""
    said = str(error)
    assert not [word for word in _NEVER if word in said], said
    assert said.isprintable(), said
    assert 20 < len(said) < 700, said
    assert not said.rstrip().endswith(":"), said
    for name in names:
        assert str(name) in said, said
