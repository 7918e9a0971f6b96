from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

from layerwise.data import read
from layerwise.errors import InvalidData, InvalidLabels, UnknownName

from .files import reviews, write_csv, write_images


def test_the_usual_columns_are_found(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "reviews.csv", reviews())
    source = read(f"csv:{path}?text=text")
    assert (source.kind, source.classes, len(source.splits["train"])) == ("text", ("bad", "good"), 20)
    assert source.splits["train"][3] == ("review 3", 1)
    assert read(f"csv:{path}").fingerprint == source.fingerprint


def test_where_keeps_the_rows_of_one_value(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "reviews.csv", reviews())
    rows = read(f"csv:{path}?where=source:long&where=label:good").splits["train"]
    assert [rows[index][0] for index in range(len(rows))] == [f"review {n}" for n in range(11, 20, 2)]
    with pytest.raises(UnknownName, match="no value of the column 'source' 'lon'; nearest: long"):
        read(f"csv:{path}?where=source:lon")


def test_a_second_file_is_the_test_split(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", reviews())
    other = write_csv(tmp_path / "b.csv", [("unseen", "awful", "short")])
    source = read(f"csv:{path}?test={other}")
    assert source.classes == ("awful", "bad", "good")
    assert source.splits["test"][0] == ("unseen", 0)


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


def test_paths_of_images_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "photos", {"a": 2})
    write_csv(tmp_path / "t.csv", [("photos/a/0.png", 609), ("photos/a/1.png", 3)], "image,label")
    monkeypatch.chdir(tmp_path.parent)
    source = read(f"csv:{tmp_path.name}/t.csv")
    image, label = source.splits["train"][1]
    assert (source.kind, image.getpixel((0, 0)), label, len(source.classes)) == ("image", (1, 1, 1), 3, 610)
    (tmp_path / "photos" / "a" / "1.png").unlink()
    with pytest.raises(InvalidData, match=r"1 of 2 images are not there, such as .*1\.png"):
        read(f"csv:{tmp_path}/t.csv")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ("?text=txet", UnknownName, "no column 'txet'; nearest: text"),
        ("?label=lable", UnknownName, "nearest: label"),
        ("?columns=text", InvalidData, "'text' holds strings"),
        ("?text=number", InvalidData, "'number' holds int64, no texts"),
        ("?text=gaps", InvalidData, "1 of 2 rows have no 'gaps'"),
        ("?text=text&columns=number", InvalidData, "one kind"),
        ("?label=real&task=classification", InvalidLabels, "no integers, such as 0.5; task=regression"),
        ("?label=number,text&columns=real", InvalidLabels, "'text' holds .*string; several columns of labels are"),
        ("?label=number&task=ranking", UnknownName, "no task 'ranking'"),
        ("?label=gaps", InvalidLabels, "missing"),
    ],
)
def test_a_wrong_column_names_the_nearest(options: str, error: type[Exception], says: str, tmp_path: Path) -> None:
    rows = [("a", "word", 1, 0.5, 0), ("b", "", 2, 1.0, 1)]
    path = write_csv(tmp_path / "t.csv", rows, "text,gaps,number,real,label")
    with pytest.raises(error, match=says):
        read(f"csv:{path}{options}")


def test_an_open_choice_of_columns_is_an_error(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [("a", "b")], "first,second")
    with pytest.raises(InvalidData, match="label=COLUMN, one of first, second"):
        read(f"csv:{path}")
    path = write_csv(tmp_path / "u.csv", [("a", "b", 1)], "first,second,label")
    with pytest.raises(InvalidData, match=r"text=COLUMN.*there are first, second"):
        read(f"csv:{path}")


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\x93\x00\xff" * 9)
    with pytest.raises(InvalidData, match="cannot be read as a table"):
        read(f"csv:{tmp_path}/t.csv")


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


def test_a_split_without_labels_is_refused(saved: Path) -> None:
    with pytest.raises(InvalidLabels, match="leave it out with split="):
        read(f"hf:{saved}")


def test_a_folder_of_images_is_read_in_rgb(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"cat": 2, "ant": 2})
    source = read(f"hf:{tmp_path}")
    assert (source.kind, source.classes) == ("image", ("ant", "cat"))
    assert source.splits["train"][0][0].mode == "RGB"


def test_an_unknown_data_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'nobody/nothing' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(InvalidData, match=r"nobody/nothing.*no such folder here.*Couldn't reach"):
        read("hf:nobody/nothing")


def test_several_columns_of_numbers_are_a_regression_target(tmp_path: Path) -> None:
    rows = [(0.5, 1, 2.5, 7), (1.5, "", 3.5, 8)]
    path = write_csv(tmp_path / "t.csv", rows, "a,first,second,b")
    source = read(f"csv:{path}?label=first,second")
    train = source.splits["train"]
    assert source.classes == ()
    assert [train[row][0].tolist() for row in (0, 1)] == [[0.5, 7], [1.5, 8]]
    np.testing.assert_array_equal(train.labels, [[1, 2.5], [np.nan, 3.5]])
    assert source.fingerprint != read(f"csv:{path}?label=second,first").fingerprint


def test_one_column_is_a_regression_target_if_it_has_fractions_or_if_asked(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [(0.5, 1, 2.5), (1.5, 3, 4)], "a,whole,real")
    assert read(f"csv:{path}?label=real").splits["train"].labels.tolist() == [2.5, 4.0]
    assert read(f"csv:{path}?label=whole").classes == ("0", "1", "2", "3")
    asked = read(f"csv:{path}?label=whole&task=regression")
    assert (asked.classes, asked.splits["train"].labels.dtype.str) == ((), "<f8")


def test_a_column_whose_name_has_a_comma_is_one_column(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"x": [0.5, 1.5], "a,b": [1, 0]}).to_parquet(tmp_path / "t.parquet")
    assert read(f"parquet:{tmp_path}/t.parquet?label=a,b").splits["train"].labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("rows", "classes"),
    [
        (["good rest,None", "some pain,Mild", "much pain,Severe"], ("Mild", "None", "Severe")),
        (["desert,NA", "lakes,CA", "fjords,NO"], ("CA", "NA", "NO")),
        (["null,1", "NA,0", "None,1", "fine,0", "nan,1"], ("0", "1")),
    ],
)
def test_words_for_nothing_are_strings_in_a_column_of_strings(
    rows: list[str], classes: tuple[str, ...], tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "t.csv", [tuple(row.split(",")) for row in rows], "text,label")
    source = read(f"csv:{path}")
    train = source.splits["train"]
    assert source.classes == classes
    assert [f"{train[row][0]},{classes[train[row][1]]}" for row in range(len(train))] == rows
    (note,) = source.notes
    assert "is one of strings, and these are read as such" in note


def test_words_for_missing_are_nan_among_numbers(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [("NA", "NA", 0.5), (1, "b", 1.5)], "a,kind,label")
    source = read(f"csv:{path}?columns=a&label=label")
    np.testing.assert_array_equal([source.splits["train"][row][0] for row in (0, 1)], [[np.nan], [1]])
    assert not list(source.notes)


@pytest.mark.parametrize("empty", ["", '""', '"  "'])
def test_an_empty_label_is_no_class(empty: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [("a", empty), ("b", "yes"), ("c", "no")], "text,label")
    with pytest.raises(InvalidLabels, match="1 of 3 labels of 'train' are (missing|empty)"):
        read(f"csv:{path}")


def test_two_columns_of_texts_are_pairs(tmp_path: Path) -> None:
    rows = [("a man", "a person", "yes"), ("a dog", "a cat", "no")]
    path = write_csv(tmp_path / "t.csv", rows, "premise,hypothesis,label")
    source = read(f"csv:{path}?text=premise,hypothesis")
    assert (source.kind, source.splits["train"][1][0]) == ("text", ("a dog", "a cat"))
    other = read(f"csv:{path}?text=hypothesis,premise")
    assert (other.splits["train"][1][0], other.fingerprint != source.fingerprint) == (("a cat", "a dog"), True)
    for options, says in (
        ("premise,hypotesis", "no column 'hypotesis'; nearest: hypothesis"),
        ("premise,", "no column ''"),
        ("premise,hypothesis,label", "a pair of two, is needed"),
    ):
        with pytest.raises((UnknownName, InvalidData), match=says):
            read(f"csv:{path}?text={options}")
    with pytest.raises(InvalidData, match="text=A,B for pairs"):
        read(f"csv:{path}")


def test_whole_numbers_stay_whole_and_rows_may_differ_in_length(tmp_path: Path) -> None:
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
