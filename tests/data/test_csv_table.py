"""A `.csv` file is read as the package datasets reads it, without that package."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerwise.data import read
from layerwise.data.csv_table import read_csv
from layerwise.data.table import Table, is_string

from .files import reviews, write_csv

CELLS = {
    "whole": ["0", "-7", "16777217", "9223372036854775807"],
    "real": ["0.1", "1e-300", "2", "inf"],
    "truth": ["True", "False"],
    "words": ["b", "'", " x ", "1", "\u00e9"],
    "mixed": ["True", "1", "0.5", "word"],
    "nothing": [""],
}
GAPS = {"full": [], "empty": [""], "missing": ["NA", "nan", "null"], "both": ["", "None", "#N/A"]}
COLUMNS = {f"{kind} {gaps}": CELLS[kind] + GAPS[gaps] for kind in CELLS for gaps in GAPS}


def test_values_and_types_are_those_of_the_package_datasets(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    cells = [[*options, *draw.choice(options, 20 - len(options))] for options in COLUMNS.values()]
    path = write_csv(tmp_path / "t.csv", list(zip(*cells, strict=True)), ",".join(COLUMNS))
    own, theirs, literal = read_csv(path), oracle(path), oracle(path, keep_default_na=False, na_values=[""])
    assert own.names == theirs.names == list(COLUMNS)
    for name in COLUMNS:
        texts = is_string(theirs.type_of(name))
        expected = literal if texts else theirs
        assert own.type_of(name) == ("string" if texts else expected.type_of(name)), name
        assert own.missing(name) == expected.missing(name), name
        assert own.values(name).dtype == expected.values(name).dtype, name
        assert own.values(name).tolist() == expected.values(name).tolist(), name
        rows = np.array([3, 0])
        if texts:
            assert own.pick([name]).take(rows).row(1) == expected.pick([name]).take(rows).row(1)
        else:
            np.testing.assert_array_equal(own.take(rows).frame([name]), expected.take(rows).frame([name]), name)


def oracle(path: Path, **options: Any) -> Table:
    datasets = pytest.importorskip("datasets")
    from layerwise.data.arrow_table import ArrowTable

    found = datasets.load_dataset("csv", data_files={"train": str(path)}, download_mode="force_redownload", **options)
    return ArrowTable(found["train"])


@pytest.mark.parametrize("late", [0, 50_000])
def test_the_type_of_a_column_is_that_of_all_its_values(late: int, tmp_path: Path) -> None:
    labels = ["1"] * 60_000
    labels[late] = "good"
    path = write_csv(tmp_path / "t.csv", [("text", label) for label in labels])
    assert read(f"csv:{path}").classes == ("1", "good")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, "zip"])
def test_a_compressed_file_is_read_whatever_its_name(compress: Any, tmp_path: Path) -> None:
    plain = write_csv(tmp_path / "plain.csv", reviews())
    path = tmp_path / "other.csv"
    if compress == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(plain, "inside.csv")
    else:
        path.write_bytes(compress(plain.read_bytes()))
    found, expected = (read(f"csv:{name}").splits["train"] for name in (path, plain))
    assert [found[row] for row in range(len(found))] == [expected[row] for row in range(len(expected))]


def test_row_names_in_front_of_the_columns_are_no_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,label\n7,0.5,0\n8,1.5,1\n")
    train = read(f"csv:{tmp_path}/t.csv").splits["train"]
    assert [(row[0].tolist(), row[1]) for row in (train[0], train[1])] == [([0.5], 0), ([1.5], 1)]


def test_the_package_datasets_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.delitem(sys.modules, "layerwise.data.arrow_table", raising=False)
    assert read(f"csv:{write_csv(tmp_path / 't.csv', reviews())}").classes == ("bad", "good")
