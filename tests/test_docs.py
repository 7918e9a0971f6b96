"""The documentation says of the metrics what the registry says, and its pictures are drawn by code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from layerwise.metrics import get, list_metrics

DOCS = Path(__file__).parent.parent / "docs"
ENTRY = re.compile(
    r"^### `(?P<name>\w+)`\n\n`(?P<direction>\w+)` over `(?P<dims>[\w, ]+)`\n(?P<text>.*?)(?=^##|\Z)", re.M | re.S
)


OWN = [name for name in list_metrics() if get(name).function.__module__.startswith("layerwise.")]


@pytest.fixture(scope="module")
def entries() -> dict[str, re.Match[str]]:
    return {entry["name"]: entry for entry in ENTRY.finditer((DOCS / "metrics.md").read_text(encoding="utf-8"))}


def test_every_metric_is_documented_once_and_no_other():
    titles = re.findall(r"^### (.*)$", (DOCS / "metrics.md").read_text(encoding="utf-8"), re.M)
    assert sorted(titles) == sorted(f"`{name}`" for name in OWN)


@pytest.mark.parametrize("name", OWN)
def test_direction_and_dims_are_those_of_the_registry(entries, name):
    variable = get(name).variable
    assert (entries[name]["direction"], entries[name]["dims"]) == (variable.direction, ", ".join(variable.dims))


@pytest.mark.parametrize("name", OWN)
def test_each_says_its_limits_its_use_and_when_it_misleads(entries, name):
    for line in ("- Limits: ", "- Use it ", "- It misleads "):
        assert entries[name]["text"].count(line) == 1, line


def test_every_picture_is_shown_and_every_one_shown_is_there(tmp_path):
    spec = importlib.util.spec_from_file_location("draw_metrics", DOCS / "draw_metrics.py")
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    shown = re.findall(r"\(images/(\w+)\.png\)", (DOCS / "metrics.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(draw.PICTURES)
    assert all((DOCS / "images" / f"{name}.png").stat().st_size < 200_000 for name in shown)
    assert all(path.stat().st_size > 1000 for path in draw.draw_all(tmp_path))
