"""Bars are for people who look on."""

from __future__ import annotations

import io
import sys

from tqdm.auto import tqdm

from layerwise.runtime.progress import bar, others_bars


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_on_a_terminal_only(monkeypatch):
    for screen, shown in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", screen)
        assert list(bar([1, 2], "pass 1")) == [1, 2]
        assert ("pass 1" in screen.getvalue()) == shown


def test_of_several_processes_one_shows_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("RANK", "1")
    assert list(bar([1, 2], "pass 1")) == [1, 2]
    assert sys.stderr.getvalue() == ""


def test_bars_of_other_libraries_need_a_terminal(monkeypatch):
    for screen, shown in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", screen)
        with others_bars():
            list(tqdm([1], desc="weights"))
        assert ("weights" in screen.getvalue()) == shown
        list(tqdm([1], desc="training"))
        assert "training" in screen.getvalue()
