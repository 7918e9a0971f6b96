from __future__ import annotations

import logging

import pytest

from layerwise.runtime.notes import Notes


def test_a_note_is_logged_once_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "layerwise"):
        notes = Notes(["one"])
        notes.add("one")
        notes.add("two, as in a.png", "two")
        notes.add("two, as in b.png", "two")
    assert [record.message for record in caplog.records] == list(notes) == ["one", "two, as in a.png"]


def test_notes_of_another_are_seen_when_they_come_later() -> None:
    notes, other = Notes(), Notes()
    notes.include(other)
    other.add("late")
    assert list(notes) == ["late"]


def test_of_several_processes_only_the_first_logs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert list(Notes(["one"])) == ["one"]
    assert not caplog.records
