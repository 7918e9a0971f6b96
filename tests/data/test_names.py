from __future__ import annotations

import pytest

from layerwise.data.names import parse
from layerwise.errors import InvalidData, UnknownName


def test_every_option_is_taken_apart() -> None:
    request = parse("csv:a/b.csv?text=body&where=lang:en&where=kind:a%26b&limit=5&test=0.25&split=train,dev")
    assert (request.scheme, request.path, request.limit, request.test) == ("csv", "a/b.csv", 5, 0.25)
    assert request.splits == ("train", "dev")
    assert request.where == (("lang", "en"), ("kind", "a&b"))
    assert request.options == {"text": "body"}


def test_a_path_may_hold_a_colon_and_a_plus() -> None:
    assert parse("npz:C:/a+b.npz?test=c+d.npz").path == "C:/a+b.npz"
    assert parse("npz:C:/a+b.npz?test=c+d.npz").test == "c+d.npz"


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("photos/", UnknownName, "imagefolder:DIR"),
        ("image-folder:photos", UnknownName, "nearest: imagefolder"),
        ("csv:a.csv?lable=x", UnknownName, "nearest: label"),
        ("npz:a.npz?column=x", UnknownName, "there are: split, test, limit, seed"),
        ("npz:", InvalidData, "names no file"),
        ("npz:a.npz?limit=0", InvalidData, "above 0"),
        ("npz:a.npz?seed=-1", InvalidData, "seed=-1: the seed of the draws"),
        ("npz:a.npz?test=1.5", InvalidData, "between 0 and 1"),
        ("csv:a.csv?where=source", InvalidData, "where=COLUMN:VALUE"),
        ("csv:a.csv?text=", InvalidData, "has no value"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(name: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        parse(name)
