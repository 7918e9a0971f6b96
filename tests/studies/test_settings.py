"""Settings are changed by words or a file, and a wrong one is one clear error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from layerwise.errors import InvalidData, UnknownName
from layerwise.studies.frame.settings import changed, from_toml, from_words


@dataclass(frozen=True)
class Inner:
    epochs: int = 3
    rate: float = 0.1


@dataclass(frozen=True)
class Settings:
    depths: tuple[int, ...] = (1, 2)
    norm: Literal["batch", "none"] = "batch"
    whole: bool = True
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)


def test_words_become_the_types_of_the_settings():
    words = from_words(["depths=3,4", "norm=none", "whole=false", "limit=7", "inner.rate=1e-3"])
    assert changed(Settings(), words) == Settings((3, 4), "none", False, 7, Inner(3, 1e-3))
    assert changed(Settings(limit=7), {"limit": "none"}).limit is None


def test_a_file_gives_the_same_as_words(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('depths = [3, 4]\nnorm = "none"\n[inner]\nepochs = 9\n')
    assert changed(Settings(), from_toml(path)) == Settings((3, 4), "none", inner=Inner(9))


@pytest.mark.parametrize(
    ("word", "error", "says"),
    [
        ("depth=3", UnknownName, "no setting 'depth'; nearest: depths"),
        ("epochs=3", UnknownName, "inner.epochs"),
        ("norm=batsh", UnknownName, "no norm 'batsh'; nearest: batch"),
        ("inner.epochs=1.5", InvalidData, "inner.epochs=1.5: a whole number"),
        ("whole=maybe", InvalidData, "true or false"),
        ("depths", InvalidData, "key=value"),
    ],
)
def test_a_wrong_word_is_one_clear_error(word, error, says):
    with pytest.raises(error, match=says):
        changed(Settings(), from_words([word]))


def test_a_file_that_is_missing_or_broken_is_one_clear_error(tmp_path):
    with pytest.raises(InvalidData, match="no settings can be read"):
        from_toml(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("a = = 1")
    with pytest.raises(InvalidData, match="not TOML"):
        from_toml(tmp_path / "broken.toml")
