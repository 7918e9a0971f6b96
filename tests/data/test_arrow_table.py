from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layerwise.data import read
from layerwise.errors import InvalidData, InvalidLabels

from .files import write_csv, write_images

datasets = pytest.importorskip("datasets")


def test_parquet_numbers_become_feature_vectors(tmp_path: Path) -> None:
    table = datasets.Dataset.from_dict({"a": [1, 2], "b": [0.5, None], "y": [1, 0]})
    table.to_parquet(tmp_path / "t.parquet")
    everything = read(f"parquet:{tmp_path}/t.parquet").splits["train"]
    np.testing.assert_array_equal(everything[1][0], np.array([2, np.nan], dtype=np.float32))
    chosen = read(f"parquet:{tmp_path}/t.parquet?columns=b,a").splits["train"]
    assert chosen[0][0].tolist() == [0.5, 1]
    assert chosen[0][0].dtype == np.float32


def test_a_column_of_lists_is_a_feature_vector(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"h": [[1.0, 2.0], [3.0, 4.0]], "y": [1, 0]}).to_parquet(tmp_path / "t.parquet")
    assert read(f"parquet:{tmp_path}/t.parquet?columns=h").splits["train"][1][0].tolist() == [3, 4]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "mood": datasets.ClassLabel(3, ["x", "b", "a"])}
    )
    splits = {
        "train": datasets.Dataset.from_dict({"sentence": ["p", "q", "r"], "mood": [0, 1, 2]}, features),
        "test": datasets.Dataset.from_dict({"sentence": ["s"], "mood": [-1]}, features),
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_data_set_keeps_its_class_names(saved: Path) -> None:
    source = read(f"hf:{saved}?split=train")
    assert (source.kind, source.classes) == ("text", ("x", "b", "a"))
    assert source.splits["train"][2] == ("r", 2)
    assert len(read(f"hf:{saved}?split=train&where=mood:b").splits["train"]) == 1


def test_a_split_without_labels_is_to_be_left_out(saved: Path) -> None:
    with pytest.raises(InvalidLabels, match="leave it out with split="):
        read(f"hf:{saved}")


def test_a_folder_of_images_is_read_in_rgb(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"cat": 2, "ant": 2})
    source = read(f"hf:{tmp_path}")
    assert (source.kind, source.classes) == ("image", ("ant", "cat"))
    assert source.splits["train"][0][0].mode == "RGB"


def test_a_name_that_nobody_knows_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'nobody/nothing' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(InvalidData, match=r"nobody/nothing.*no such folder here.*Couldn't reach"):
        read("hf:nobody/nothing")


def test_a_column_whose_name_has_a_comma_is_one_column(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"x": [0.5, 1.5], "a,b": [1, 0]}).to_parquet(tmp_path / "t.parquet")
    assert read(f"parquet:{tmp_path}/t.parquet?label=a,b").splits["train"].labels.tolist() == [1, 0]


def test_whole_numbers_stay_whole_and_rows_of_token_ids_may_differ_in_length(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [(3, 16_777_217, 0), (5, 6, 1)], "a,b,label")
    assert read(f"csv:{path}").splits["train"][0][0].tolist() == [3, 16_777_217]
    table = datasets.Dataset.from_dict({"input_ids": [[1, 2, 3], [4]], "text": ["a", "b"], "label": [0, 1]})
    table.to_parquet(tmp_path / "t.parquet")
    source = read(f"parquet:{tmp_path}/t.parquet")
    assert (source.kind, source.splits["train"][0][0].tolist(), source.splits["train"][1][0].tolist()) == (
        "array",
        [1, 2, 3],
        [4],
    )


def test_the_training_split_goes_by_its_usual_names(tmp_path: Path) -> None:
    table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    datasets.DatasetDict({"Training": table, "validation": table}).save_to_disk(tmp_path / "saved")
    assert list(read(f"hf:{tmp_path}/saved").splits) == ["train", "validation"]
