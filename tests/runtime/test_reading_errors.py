from __future__ import annotations

import pytest

from layerwise.errors import InvalidData, UnknownName
from layerwise.runtime.reading_errors import innermost, reason, refusing


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("many lines\n\n  of  text."), "many lines of text"),
        (ValueError("It has objects. Pass allow_pickle=True. Take care!"), "It has objects. Take care!"),
        (
            RuntimeError("Re-run with weights_only=False"),
            "it holds more than plain data, and no code is run to read it",
        ),
        (TypeError("unexpected keyword argument 'trust_remote_code'"), "TypeError"),
        (RuntimeError("Advice.\nWeightsUnpickler error: Unsupported operand 9"), "Unsupported operand 9"),
        (KeyError("epoch"), "there is no 'epoch'"),
        (IndexError("list index out of range"), "IndexError: list index out of range"),
        (PermissionError(13, "Permission denied", "a.csv"), "Permission denied: 'a.csv'"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "byte 0xff at 0 is no utf-8; save it in UTF-8"),
        (MemoryError(), "there is not enough memory"),
        (EOFError(), "it ends too early"),
        (AssertionError(), "AssertionError"),
        (ValueError("\x1b[31mred\x00"), "[31mred"),
    ],
)
def test_a_reason_has_no_advice_to_run_code(error: Exception, said: str) -> None:
    assert reason(error) == said


def test_a_reason_is_of_bounded_length() -> None:
    assert len(reason(ValueError("a" * 10_000))) < 400


def test_a_file_is_named_once() -> None:
    assert reason(FileNotFoundError(2, "No such file", "/a/b.csv"), "'/a/b.csv' cannot be read") == "No such file"


def test_our_own_errors_stay_as_they_are() -> None:
    with pytest.raises(UnknownName, match="no column 'a'"), refusing("a table cannot be read"):
        raise UnknownName("column", "a", ["b"])


def test_errors_of_other_kinds_stay_where_kinds_are_given() -> None:
    with pytest.raises(ValueError, match="^other$"), refusing("a file cannot be read", OSError):
        raise ValueError("other")
    with pytest.raises(InvalidData, match="a file cannot be read: gone"), refusing("a file cannot be read", OSError):
        raise OSError("gone")


def test_the_cause_of_all_is_the_innermost() -> None:
    first, second = ValueError("first"), RuntimeError("second")
    second.__cause__ = first
    assert innermost(second) is first
