"""Profiles as plain files: nothing is lost, tables repeat no row, and nothing is replaced unasked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers.profiles import made_up
from helpers.store_cases import rich

from layerwise.errors import NotAStore, SchemaMismatch, UnknownName
from layerwise.store import NotWritable, export, import_profile
from layerwise.store.export import tidy


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_export_and_import_give_the_same_profile(suffix: str, tmp_path: Path) -> None:
    if suffix == ".nc":
        pytest.importorskip("h5py")
    export(rich(), tmp_path / f"out/profile{suffix}")
    read = import_profile(tmp_path / f"out/profile{suffix}")
    xr.testing.assert_identical(read, rich())
    assert {name: item.dtype for name, item in read.variables.items()} == {
        name: item.dtype for name, item in rich().variables.items()
    }


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_tables_have_one_row_a_combination_and_no_row_twice(suffix: str, tmp_path: Path) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    dataset = made_up(2, layers=3, classes=4)
    export(dataset, tmp_path / f"table{suffix}")
    table = (pd.read_csv if suffix == ".csv" else pd.read_parquet)(tmp_path / f"table{suffix}")
    assert len(table) == 2 * 2 * 1 * 3 * (1 + 4)
    assert not table.duplicated(["epoch", "split", "target", "layer", "class"]).any()
    assert list(table.columns[:6]) == ["epoch", "split", "target", "layer", "class", "step"]
    row = table.query("epoch == 1 and split == 'test' and layer == 'encoder.stages.0.blocks.2'")
    there = dataset.sel(epoch=1, split="test", layer="encoder.stages.0.blocks.2", target="label")
    np.testing.assert_allclose(row[row["class"].isna()]["nc1"], there["nc1"])
    np.testing.assert_allclose(row[row["class"].notna()]["class_variance"], there["class_variance"])


def test_a_table_of_a_profile_without_classes_has_its_metrics_once() -> None:
    assert len(tidy(made_up(2, layers=3).drop_dims("class"))) == 12


def test_export_does_not_replace_what_is_there_unasked(tmp_path: Path) -> None:
    export(made_up(), tmp_path / "profile.zarr")
    with pytest.raises(NotWritable, match="already exists; overwrite=True"):
        export(made_up(seed=1), tmp_path / "profile.zarr")
    export(made_up(seed=1), tmp_path / "profile.zarr", overwrite=True)
    xr.testing.assert_identical(import_profile(tmp_path / "profile.zarr"), made_up(seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["profile.zarr"]


def test_a_failed_export_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(made_up(), tmp_path / "table.csv")
    before = (tmp_path / "table.csv").read_text()

    def full(self: pd.DataFrame, path: Path, **_: object) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(NotWritable, match=r"table\.csv cannot be written: .*No space left on device"):
        export(made_up(seed=1), tmp_path / "table.csv", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == before


def test_imports_that_cannot_be_say_why(tmp_path: Path) -> None:
    xr.Dataset({"x": ("time", [1.0])}).to_zarr(tmp_path / "weather.zarr", consolidated=False, zarr_format=3)
    (tmp_path / "words.zarr").write_text("words")
    with pytest.raises(SchemaMismatch, match="not a layerwise profile"):
        import_profile(tmp_path / "weather.zarr")
    with pytest.raises(NotAStore, match="cannot be read"):
        import_profile(tmp_path / "words.zarr")
    with pytest.raises(NotAStore, match="no file"):
        import_profile(tmp_path / "none.zarr")
    with pytest.raises(UnknownName, match=r"no format to import '\.csv'; nearest: \.nc"):
        import_profile(tmp_path / "table.csv")
    with pytest.raises(UnknownName, match=r"no format '\.xlsx'"):
        export(made_up(), tmp_path / "table.xlsx")
