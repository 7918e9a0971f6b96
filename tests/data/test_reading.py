from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from layerwise.data import SCHEMES, read
from layerwise.errors import UnknownName

from .files import reviews, write_csv, write_images, write_npz


@pytest.mark.parametrize("scheme", ["csv", "npz", "imagefolder"])
def test_the_fingerprint_depends_on_content_alone(scheme: str, tmp_path: Path) -> None:
    make: dict[str, Callable[[Path], Path]] = {
        "csv": lambda root: write_csv(root / "t.csv", reviews()),
        "npz": lambda root: write_npz(root / "t.npz"),
        "imagefolder": lambda root: write_images(root / "t", {"ant": 2, "bee": 3}),
    }
    paths = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        paths.append(make[scheme](tmp_path / name))
    here, there = (read(f"{scheme}:{path}").fingerprint for path in paths)
    assert here == there
    if scheme == "csv":
        paths[1].write_text(paths[1].read_text().replace("review 7", "review 8"))
    elif scheme == "npz":
        write_npz(paths[1], 13)
    else:
        Image.new("L", (6, 4), 200).save(paths[1] / "bee" / "0.png")
    assert read(f"{scheme}:{paths[1]}").fingerprint != here


def test_it_follows_the_samples_that_are_drawn() -> None:
    names = [f"sklearn:digits{options}" for options in ("", "?limit=100", "?limit=101", "?test=0.2")]
    assert len({read(name).fingerprint for name in names}) == len(names)
    assert read(names[1]).fingerprint == read(names[1]).fingerprint


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "hf"])
def test_every_scheme_names_missing_files(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="nowhere"):
        read(f"{scheme}:{tmp_path}/nowhere")
